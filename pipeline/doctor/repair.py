"""`clinfonce repair`: removes a damaged output, so that `dvc repro` restores or recomputes it.

Symptom: an output that was damaged in place stays damaged after `dvc repro --force`. Cause: it is a hard link
to DVC's cache, so the cache holds the same bytes, and DVC does not reread a file that the cache has under a
name: it removes the fresh output and links the damaged one. Cure: what differs from DVC's record is removed
from the workspace and from the cache. What matches the record stays, because other clones may share the
cache; a file that was damaged before DVC recorded it is removed only on request.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.doctor.found_file import FoundFile, new_md5
from pipeline.runtime.console import echo
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.untrusted.dvc.process import reading
from pipeline.untrusted.safe_paths import SafePath, UnsafePath

HASH = "md5"
DIRECTORY = ".dir"
"""Suffix of DVC's names for lists of files."""
MOST_LIST_BYTES = 64 << 20
"""Maximum size in bytes; each file takes a hundred."""
_NAME_IN_CACHE = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Output:
    """An output of a stage, and its record in dvc.lock."""

    place: Path
    in_cache: bool
    """False if Git keeps it."""
    hash_name: str | None
    hash: str | None
    """None if the stage has not run."""
    cache: Path

    @property
    def is_folder(self) -> bool:
        return str(self.hash).endswith(DIRECTORY)

    def cached(self, md5: str) -> Path:
        """Returns the path of the file with this MD5 in DVC's cache."""
        return self.cache / md5[:2] / md5[2:]


@dataclass(frozen=True)
class Removal:
    """What to remove for one file of an output."""

    file: FoundFile
    cached: FoundFile | None = None
    """Its copy in DVC's cache, if that is removed too."""
    made_again: bool = True
    """False if the cache holds an intact copy."""

    def __str__(self) -> str:
        where = "" if self.cached is None else f" and its copy in DVC's cache, {_short(self.cached.path)}"
        then = "makes it again" if self.made_again else "brings it back from DVC's cache"
        return f"{_short(self.file.path)}{where}: `dvc repro` {then}"

    def carry_out(self) -> Iterator[Path]:
        """Removes the files; yields those that stay because they have changed meanwhile."""
        for found in (self.cached, self.file):
            if found is not None and not found.remove():
                yield _short(found.path)


def repair(path: Path, agreed: Callable[[], bool], *, recorded: bool = False) -> None:
    """Removes what differs from DVC's record in `path`, an output or a part of one, after consent.

    With `recorded`, also removes what matches the record, from the cache too: it was damaged before it was
    recorded. Raises `UserError` for a path that is not an output or inside one, such as a folder of several
    outputs.
    """
    request = {"path": str(path)}
    with reading("pipeline.doctor.dvc_outputs", request, "this repository") as found:
        output, named = _named_output(path, [_output(record, found["cache"]) for record in found["outputs"]])
        removals = list(_removals(output, named, recorded))
        if removals:
            echo("This goes:", *map(str, removals))
            if agreed():
                stay = [str(path) for removal in removals for path in removal.carry_out()]
                echo(
                    f"removed {len(removals)} files" if not stay else f"stays, as it changed: {listed(stay)}"
                )
                return
        echo("nothing was removed" if removals else _nothing_differs(path))


def _output(record: dict[str, Any], cache: str) -> Output:
    return Output(
        Path(record["place"]), record["in_cache"], record["hash_name"], record["hash"], Path(cache).resolve()
    )


def _named_output(path: Path, outputs: Iterable[Output]) -> tuple[Output, Path]:
    """Returns the output that `path` names, or lies in, and the path without links and `..`."""
    places = {output.place: output for output in outputs}
    # If an output is a link to the cache, its own name counts; elsewhere links are followed.
    for named in (path.parent.resolve() / path.name, path.resolve()):
        for folder in (named, *named.parents):
            if folder in places:
                return _known(places[folder], path), named
    below = sorted(str(_short(place)) for place in places if path.resolve() in place.parents)
    cure = f"name one of them: {listed(below)}" if below else "name a file or folder below data/"
    raise UserError(f"{path} is {'more than one output' if below else 'no output'} of a stage: {cure}")


def _known(output: Output, path: Path) -> Output:
    if not output.in_cache:
        raise UserError(f"{path} is kept by Git and not by DVC: `git checkout {path}` brings it back")
    if output.hash is None:
        raise UserError(f"{path} has not been made yet: run `dvc repro`")
    if output.hash_name != HASH:
        raise UserError(
            f"dvc.lock records {path} by {shown(output.hash_name)}, as DVC 2 did, and not by {HASH} of its "
            "bytes, so that a whole file could count as damaged: run `dvc cache migrate --dvc-files` first"
        )
    _check_name(output.hash, "dvc.lock")
    return output


def _check_name(name: object, found_in: str) -> None:
    """Raises `UserError` for a name that is not an MD5.

    dvc.lock and the lists in a cache may be untrusted, and these names become paths.
    """
    if not (isinstance(name, str) and _NAME_IN_CACHE.fullmatch(name)):
        raise UserError(
            f"{found_in} holds {shown(repr(name))}, which is no MD5: take the file that DVC wrote"
        )


def _removals(output: Output, requested: Path, everything: bool) -> Iterator[Removal]:
    """Yields the removals for the files of `output` that are `requested`, or lie in it."""
    assert output.hash is not None
    place, cached = output.place, output.cached(output.hash)
    if not output.is_folder:
        yield from _removal(place, output.hash, cached, everything)
        return
    if place.is_symlink():
        raise UserError(f"{_short(place)} is a link, and what it leads to may be another's: remove the link")
    expected = _listed_files(output, cached)
    if expected is None:
        # Without the list, nothing is known about any of the files.
        yield Removal(FoundFile.at(cached))
    found = {path for path in place.rglob("*") if path.is_file() or path.is_symlink()}
    for path in sorted(found | set(expected or ())):
        if path == requested or requested in path.parents:
            md5 = (expected or {}).get(path)
            yield from _removal(path, md5, None if md5 is None else output.cached(md5), everything)


def _listed_files(output: Output, cached_list: Path) -> dict[Path, str] | None:
    """Returns the MD5 of each file in an output that is a folder; None if the list is damaged or missing."""
    place = output.place
    content = _content(cached_list)
    if content is None or f"{new_md5(content).hexdigest()}{DIRECTORY}" != output.hash:
        return None
    files: dict[Path, str] = {}
    for member, md5 in _read_list(content, cached_list, f"the list of {_short(place)}"):
        path = place / member
        if ".." in path.parts or place not in path.parents or path.parent.resolve() != path.parent:
            raise UserError(
                f"the list of {_short(place)} names {shown(path)}, which is not in it: run `dvc repro`"
            )
        files[path] = md5
    return files


def _content(cached_list: Path) -> bytes | None:
    """Returns the content of a list; None if it is missing."""
    try:
        content = SafePath(cached_list).read_whole(MOST_LIST_BYTES)
    except UnsafePath:
        return None
    if content is None:
        raise UserError(
            f"{shown(cached_list)} is larger than {MOST_LIST_BYTES >> 20} MiB: no list of DVC's is"
        )
    return content


def _read_list(content: bytes, path: Path, called: str) -> Iterator[tuple[str, str]]:
    """Yields the name and the MD5 of each file. Raises `UserError` for a list that DVC did not write."""
    try:
        for entry in parse_json(content):
            member, md5 = entry["relpath"], entry["md5"]
            os.fsencode(member)
            if not member or "\0" in member:
                raise ValueError("no file's name")
            _check_name(md5, called)
            yield member, md5
    except (NotJson, LookupError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{called} in DVC's cache is none that DVC wrote: remove {shown(path)}") from None


def _removal(path: Path, expected: str | None, cached: Path | None, everything: bool) -> Iterator[Removal]:
    """Yields the removal of a file, if it is necessary.

    `expected` is the MD5 by which DVC knows the file; None: it does not belong to the output.
    """
    if path.is_dir() and not path.is_symlink():
        raise UserError(f"{_short(path)} is a folder, where a file should be: move it away")
    in_cache = None if cached is None else FoundFile.at(cached)
    if everything or in_cache is None or in_cache.md5 != expected:
        yield Removal(FoundFile.at(path), in_cache)
    elif (found := FoundFile.at(path)).md5 != expected:
        yield Removal(found, made_again=False)


def _nothing_differs(path: Path) -> str:
    return (
        f"{path} is as DVC recorded it: nothing was removed. If a stage finds damage in it, it was damaged "
        "before that: --recorded removes it all the same, also for other clones that share the cache"
    )


def _short(path: Path) -> Path:
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
