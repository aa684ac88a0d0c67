"""`clinfonce mend`: takes damaged outputs away, so that `dvc repro` brings them back or makes them again.

Symptom: an output that was damaged in its place stays damaged through `dvc repro --force`. Cause: it is a
hard link to DVC's cache, so the cache holds the same bytes, and DVC does not read again what lies there under
a name: it takes the fresh output away and links the damaged one. Cure: what is not as DVC recorded it is
removed from the workspace and from the cache. Where all is as recorded it was damaged before, and all goes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from rich.console import Console

from pipeline.errors import UserError


@dataclass(frozen=True)
class Recorded:
    """A file of an output; `expected` is the MD5 by which DVC knows it, None where it knows no such file."""

    path: Path
    expected: str | None
    cached: Path | None

    @property
    def in_place(self) -> bool:
        return _md5(self.path) == self.expected is not None

    @property
    def in_cache(self) -> bool:
        return self.cached is not None and _md5(self.cached) == self.expected


def mend(path: Path, console: Console) -> None:
    """Raises `UserError` where `path` is neither an output of a stage nor in one."""
    try:
        with Repo() as repo, repo.lock:
            found = [file for output in repo.index.outs for file in _files(output, path.absolute())]
    except DvcException as error:
        raise UserError(f"{path} cannot be mended here ({error}): run it where dvc.yaml lies") from None
    if not found:
        raise UserError(f"{path} is no output of a stage: name a file or folder below data/")
    damaged = [file for file in found if not (file.in_place and file.in_cache)]
    for file in damaged or found:
        # Where all is as DVC recorded it, none of it can be trusted.
        kept = bool(damaged) and file.in_cache
        if file.cached is not None and not kept:
            file.cached.unlink(missing_ok=True)
        file.path.unlink(missing_ok=True)
        again = "brings it back from DVC's cache" if kept else "makes it again"
        told = f"removed {_short(file.path)}: `dvc repro` {again}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _files(output: Any, wanted: Path) -> Iterator[Recorded]:
    """The files of a DVC output that are `wanted` or lie in it."""
    place = Path(output.fs_path)
    inside = wanted == place or place in wanted.parents
    if not (inside or wanted in place.parents) or not output.use_cache or not output.hash_info:
        return
    cache, name = output.cache, output.hash_info.value
    if not output.hash_info.isdir:
        yield Recorded(place, name, Path(cache.oid_to_path(name)))
        return
    try:
        listing = output.get_obj()
    except ValueError:
        listing = None
    if listing is None:
        # The list of its files is what is damaged, or lost.
        Path(cache.oid_to_path(name)).unlink(missing_ok=True)
    listed = () if listing is None else listing.iteritems()
    entries = {place.joinpath(*key): info.value for key, (_, info) in listed}
    there = {path for path in place.rglob("*") if path.is_file() or path.is_symlink()}
    for path in sorted(there | set(entries)):
        if path == wanted or wanted in path.parents:
            expected = entries.get(path)
            yield Recorded(path, expected, None if expected is None else Path(cache.oid_to_path(expected)))


def _md5(path: Path) -> str | None:
    """As DVC names what it keeps; None for what is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return None


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
