"""`clinfonce repair`: takes a damaged output away, so that `dvc repro` brings it back or makes it again.

Symptom: an output that was damaged in its place stays damaged through `dvc repro --force`. Cause: it is a
hard link to DVC's cache, so the cache holds the same bytes, and DVC does not read again what lies there under
a name: it takes the fresh output away and links the damaged one. Cure: what is not as DVC recorded it is
removed from the workspace and from the cache. What is as recorded stays, since other clones may share the
cache; a file that was damaged before DVC recorded it is removed only on demand.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runtime.console import echo
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.untrusted.dvc.process import reading

HASH = "md5"
DIRECTORY = ".dir"
"""How DVC's names for lists of files end."""
_NAME_IN_CACHE = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Output:
    """Of a stage, and what dvc.lock says of it."""

    place: Path
    in_cache: bool
    """Else Git keeps it."""
    hash_name: str | None
    hash: str | None
    """None where no stage has run."""
    cache: Path

    @property
    def is_folder(self) -> bool:
        return str(self.hash).endswith(DIRECTORY)

    def cached(self, md5: str) -> Path:
        """Where DVC's cache has what it knows by this name."""
        return self.cache / md5[:2] / md5[2:]


@dataclass(frozen=True)
class Removal:
    """What goes of one file of an output."""

    path: Path
    cached: Path | None = None
    """Its copy in DVC's cache, where that is damaged too."""
    made_again: bool = True
    """False where the cache holds it whole."""

    def __str__(self) -> str:
        where = "" if self.cached is None else f" and its copy in DVC's cache, {_short(self.cached)}"
        then = "makes it again" if self.made_again else "brings it back from DVC's cache"
        return f"{_short(self.path)}{where}: `dvc repro` {then}"

    def carry_out(self) -> None:
        for path in (self.cached, self.path):
            if path is not None:
                path.unlink(missing_ok=True)


def repair(path: Path, agreed: Callable[[], bool], *, recorded: bool = False) -> None:
    """Removes what differs from DVC's record in `path`, an output or a part of one, once `agreed` to.

    With `recorded`, what is as DVC recorded it goes too, from the cache as well: it was damaged before.
    Raises `UserError` for a path that is no output and in none, such as a folder of several.
    """
    request = {"path": str(path)}
    with reading("pipeline.doctor.dvc_outputs", request, "this repository") as found:
        output, named = _named_output(path, [_output(record, found["cache"]) for record in found["outputs"]])
        removals = list(_removals(output, named, recorded))
        if removals:
            echo("This goes:", *map(str, removals))
            if agreed():
                for removal in removals:
                    removal.carry_out()
                echo(f"removed {len(removals)} files")
                return
        echo("nothing was removed" if removals else _nothing_differs(path))


def _output(record: dict[str, Any], cache: str) -> Output:
    return Output(Path(record["place"]), record["in_cache"], record["hash_name"], record["hash"], Path(cache))


def _named_output(path: Path, outputs: Iterable[Output]) -> tuple[Output, Path]:
    """The output that `path` names, or lies in, and the path without links and `..`."""
    places = {output.place: output for output in outputs}
    # Where an output is a link to the cache, its own name counts; elsewhere links are followed.
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
    """Both dvc.lock and the lists in a cache may be a stranger's, and these names become paths."""
    if not (isinstance(name, str) and _NAME_IN_CACHE.fullmatch(name)):
        raise UserError(
            f"{found_in} holds {shown(repr(name))}, which is no MD5: take the file that DVC wrote"
        )


def _removals(output: Output, requested: Path, everything: bool) -> Iterator[Removal]:
    """Of the files of `output` that are `requested`, or lie in it."""
    assert output.hash is not None
    place, cached = output.place, output.cached(output.hash)
    if not output.is_folder:
        yield from _removal(place, output.hash, cached, everything)
        return
    if place.is_symlink():
        raise UserError(f"{_short(place)} is a link, and what it leads to may be another's: remove the link")
    expected = _listed_files(output, cached)
    if expected is None:
        # Without the list of its files nothing is known of any of them.
        yield Removal(cached)
    found = {path for path in place.rglob("*") if path.is_file() or path.is_symlink()}
    for path in sorted(found | set(expected or ())):
        if path == requested or requested in path.parents:
            md5 = (expected or {}).get(path)
            yield from _removal(path, md5, None if md5 is None else output.cached(md5), everything)


def _listed_files(output: Output, cached_list: Path) -> dict[Path, str] | None:
    """The MD5 of each file in an output that is a folder; None where the list is damaged or lost."""
    if f"{_md5(cached_list)}{DIRECTORY}" != output.hash:
        return None
    place = output.place
    files: dict[Path, str] = {}
    for member, md5 in _read_list(cached_list, f"the list of {_short(place)}"):
        path = place / member
        if ".." in path.parts or not path.parent.resolve().is_relative_to(place.resolve()):
            raise UserError(
                f"the list of {_short(place)} names {shown(path)}, which is not in it: run `dvc repro`"
            )
        files[path] = md5
    return files


def _read_list(path: Path, called: str) -> Iterator[tuple[str, str]]:
    """The name of each file and its MD5. Raises `UserError` for a list that DVC did not write."""
    try:
        for entry in parse_json(path.read_bytes()):
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
    """`expected` is the MD5 by which DVC knows the file; None: it does not belong to the output."""
    if path.is_dir() and not path.is_symlink():
        raise UserError(f"{_short(path)} is a folder, where a file should be: move it away")
    if everything or cached is None or _md5(cached) != expected:
        yield Removal(path, cached)
    elif _md5(path) != expected:
        yield Removal(path, made_again=False)


def _md5(path: Path) -> str | None:
    """As DVC names what it keeps; None where there is no regular file."""
    try:
        # A pipe that nobody writes to would block an ordinary open for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO):
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _nothing_differs(path: Path) -> str:
    return (
        f"{path} is as DVC recorded it: nothing was removed. If a stage finds damage in it, it was damaged "
        "before that: --recorded removes it all the same, also for other clones that share the cache"
    )


def _short(path: Path) -> Path:
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
