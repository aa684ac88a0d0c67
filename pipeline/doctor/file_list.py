"""DVC's list of the files in an output that is a folder, and their MD5s."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.doctor.found_file import FoundFile, new_md5, short
from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

DIRECTORY = ".dir"
BYTES_PER_BRACKET = 8
"""Minimum; an entry of a list, with one of them, has 58 bytes, and each in its file's name one more."""
"""Suffix of DVC's names for lists of files."""
MOST_LIST_BYTES = 64 << 20
"""Maximum size in bytes; each file takes a hundred."""
_NAME_IN_CACHE = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class FileList:
    """The recorded MD5 of each file in a folder."""

    files: dict[Path, str]
    is_cached: bool
    """False if DVC's cache does not hold the list, and it was rebuilt from files that are all intact."""


def file_list(folder: Path, name: str, cached: Path) -> FileList | None:
    """Returns the list that dvc.lock records for `folder` as `name`; `cached` is its path in DVC's cache.

    A list that is damaged or missing is rebuilt from the files in the workspace. Returns None if these are
    not the recorded ones either. Raises `UserError` for a list that DVC did not write.
    """
    content = _content(cached)
    if content is not None and _name_of(content) == name:
        return FileList(dict(_members(folder, content, cached)), is_cached=True)
    rebuilt = {path: FoundFile.at(path).md5 for path in files_below(folder)}
    files = {path: md5 for path, md5 in rebuilt.items() if md5 is not None}
    return FileList(files, is_cached=False) if _name_of(_written(folder, files)) == name else None


def check_md5(name: object, found_in: str) -> None:
    """Raises `UserError` for a name that is not an MD5.

    dvc.lock and the lists in a cache may be untrusted, and these names become paths.
    """
    if not (isinstance(name, str) and _NAME_IN_CACHE.fullmatch(name)):
        raise UserError(
            f"{found_in} holds {shown(repr(name))}, which is no MD5: take the file that DVC wrote"
        )


def files_below(folder: Path) -> Iterator[Path]:
    """Yields the files and links in `folder` and below, however deep it is. Follows no links."""
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)


def _name_of(content: bytes) -> str:
    return f"{new_md5(content).hexdigest()}{DIRECTORY}"


def _written(folder: Path, files: dict[Path, str]) -> bytes:
    """Returns the list of these files as DVC writes it."""
    entries = [{"md5": md5, "relpath": path.relative_to(folder).as_posix()} for path, md5 in files.items()]
    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"])).encode()


def _content(cached: Path) -> bytes | None:
    """Returns the content of a list; None if it is missing."""
    try:
        content = SafePath(cached).read_whole(MOST_LIST_BYTES)
    except UnsafePath:
        return None
    if content is None:
        raise UserError(f"{shown(cached)} is larger than {MOST_LIST_BYTES >> 20} MiB: no list of DVC's is")
    return content


def _members(folder: Path, content: bytes, cached: Path) -> Iterator[tuple[Path, str]]:
    """Yields the path and the MD5 of each file in a list."""
    called = f"the list of {short(folder)}"
    for member, md5 in _entries(content, cached, called):
        path = folder / member
        if ".." in path.parts or folder not in path.parents or path.parent.resolve() != path.parent:
            raise UserError(f"{called} names {shown(path)}, which is not in it: run `dvc repro`")
        yield path, md5


def _entries(content: bytes, cached: Path, called: str) -> Iterator[tuple[str, str]]:
    """Yields the name and the MD5 of each file. Raises `UserError` for a list that DVC did not write."""
    try:
        # Parsed, small lists and objects take thirty times their bytes.
        if BYTES_PER_BRACKET * (content.count(b"{") + content.count(b"[")) > BYTES_PER_BRACKET + len(content):
            raise ValueError("more brackets than files")
        for entry in parse_json(content):
            member, md5 = entry["relpath"], entry["md5"]
            os.fsencode(member)
            if not member or "\0" in member:
                raise ValueError("no file's name")
            check_md5(md5, called)
            yield member, md5
    except (NotJson, LookupError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{called} in DVC's cache is none that DVC wrote: remove {shown(cached)}") from None
