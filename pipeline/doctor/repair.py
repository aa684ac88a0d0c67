"""`clinfonce repair`: removes a damaged output, so that `dvc repro` restores or recomputes it.

Symptom: an output that was damaged in place stays damaged after `dvc repro --force`. Cause: it is a hard link
to DVC's cache, so the cache holds the same bytes, and DVC does not reread a file that the cache has under a
name: it removes the fresh output and links the damaged one. Cure: what differs from DVC's record is removed
from the workspace and from the cache, each judged by itself. What matches the record stays in both: it may be
the only good copy, and other clones may share the cache. A file that was damaged before DVC recorded it is
removed only on request.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.doctor.file_list import DIRECTORY, check_md5, file_list, files_below
from pipeline.doctor.found_file import FoundFile, short
from pipeline.runtime.console import echo
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.untrusted.dvc.process import reading

HASH = "md5"


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
class Inspected:
    """A file of an output in the workspace, and its copy in DVC's cache."""

    path: Path
    md5: str | None
    """MD5 by which DVC knows the file; None if the output was recorded without it."""
    file: FoundFile | None
    """None if nothing is there, as for `cached`."""
    cached: FoundFile | None

    @property
    def is_intact(self) -> bool:
        return self.file is not None and self.file.md5 == self.md5

    @property
    def is_cached(self) -> bool:
        """Whether DVC's cache holds an intact copy."""
        return self.cached is not None and self.cached.md5 == self.md5


@dataclass(frozen=True)
class Removal:
    """What to remove for one file of an output."""

    names: str
    then: str
    """What happens to the file afterwards."""
    found: tuple[FoundFile, ...]

    def __str__(self) -> str:
        return f"{self.names}: {self.then}"

    def carry_out(self) -> Iterator[Path]:
        """Removes the files; yields those that stay because they have changed meanwhile."""
        for found in self.found:
            if not found.remove():
                yield short(found.path)


@dataclass(frozen=True)
class Inspection:
    """The state of an output, or of a part of one."""

    output: Output
    files: list[Inspected]
    cached_list: FoundFile | None = None
    """A list of the output's files in DVC's cache that is damaged."""
    lacks_list: bool = False
    """Whether DVC's cache has no intact list of the output's files."""
    is_known: bool = True
    """False if that list could not be rebuilt, so that no file can be compared."""


def repair(path: Path, agreed: Callable[[], bool], *, recorded: bool = False) -> None:
    """Removes what differs from DVC's record in `path`, an output or a part of one, after consent.

    With `recorded`, also removes what matches the record, from the cache too: it was damaged before it was
    recorded. Raises `UserError` for a path that is not an output or inside one, such as a folder of several
    outputs.
    """
    request = {"path": str(path)}
    with reading("pipeline.doctor.dvc_outputs", request, "this repository") as found:
        output, named = _named_output(path, [_output(record, found["cache"]) for record in found["outputs"]])
        inspection = _inspect(output, named)
        if not inspection.files and inspection.is_known and named != output.place:
            raise UserError(
                f"{path} is neither there nor among the files that DVC recorded of {short(output.place)}: "
                "check its name, or name the whole output"
            )
        removals = list(_removals(inspection, recorded))
        advice = None if recorded else _advice(inspection)
        if not removals:
            echo(f"nothing was removed: {advice}" if advice else _nothing_differs(path))
            return
        echo("This goes:", *map(str, removals))
        if not agreed():
            echo("nothing was removed")
            return
        stay = [str(path) for removal in removals for path in removal.carry_out()]
        if stay:
            echo(f"stays, as it changed: {listed(stay)}")
        else:
            count = sum(len(removal.found) for removal in removals)
            echo(f"removed {count} file{'s' if count > 1 else ''}", *([advice] if advice else []))


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
    below = sorted(str(short(place)) for place in places if path.resolve() in place.parents)
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
    check_md5(output.hash, "dvc.lock")
    return output


def _inspect(output: Output, requested: Path) -> Inspection:
    """Compares the files of `output` that are `requested`, or lie in it, with DVC's record."""
    assert output.hash is not None
    cached = output.cached(output.hash)
    if not output.is_folder:
        return Inspection(output, [_inspected(output, output.place, output.hash)])
    if output.place.is_symlink():
        raise UserError(
            f"{short(output.place)} is a link, and what it leads to may be another's: remove the link"
        )
    found = file_list(output.place, output.hash, cached)
    recorded = {} if found is None else found.files
    paths = sorted({*files_below(output.place), *recorded})
    files = [
        _inspected(output, path, recorded.get(path))
        for path in paths
        if path == requested or requested in path.parents
    ]
    if found is not None and found.is_cached:
        return Inspection(output, files)
    return Inspection(output, files, FoundFile.existing(cached), lacks_list=True, is_known=found is not None)


def _inspected(output: Output, path: Path, md5: str | None) -> Inspected:
    if path.is_dir() and not path.is_symlink():
        raise UserError(f"{short(path)} is a folder, where a file should be: move it away")
    cached = None if md5 is None else FoundFile.existing(output.cached(md5))
    return Inspected(path, md5, FoundFile.existing(path), cached)


def _removals(inspection: Inspection, everything: bool) -> Iterator[Removal]:
    """Yields what to remove: what differs from DVC's record, or `everything` that was inspected."""
    if (cached_list := inspection.cached_list) is not None:
        names = f"the list of {short(inspection.output.place)} in DVC's cache, {short(cached_list.path)}"
        yield Removal(names, "it is damaged", (cached_list,))
    for inspected in inspection.files:
        if everything and not inspection.is_known:
            # Without the list, a user's own files look like the recorded ones.
            yield from _removal(
                inspected.path, inspected.file, None, "`dvc repro` restores it if the stage wrote it"
            )
        elif inspection.is_known:
            yield from _necessary(inspected, everything)


def _necessary(inspected: Inspected, everything: bool) -> Iterator[Removal]:
    """Yields the removal of a file and its copy, or of one of them, if it is necessary."""
    path, file, cached = inspected.path, inspected.file, inspected.cached
    if inspected.md5 is None:
        yield from _removal(path, file, None, "DVC has no record of it, so nothing brings it back")
    elif everything or not (inspected.is_intact or inspected.is_cached):
        yield from _removal(path, file, cached, "`dvc repro` makes it again")
    elif not inspected.is_intact:
        yield from _removal(path, file, None, "`dvc repro` brings it back from DVC's cache")
    elif not inspected.is_cached:
        yield from _removal(path, None, cached, "the file itself is intact and stays")


def _removal(path: Path, file: FoundFile | None, cached: FoundFile | None, then: str) -> Iterator[Removal]:
    """Yields the removal of what is there of a file and its copy, the copy first."""
    if file is None and cached is not None:
        yield Removal(f"the copy of {short(path)} in DVC's cache, {short(cached.path)}", then, (cached,))
    elif file is not None and cached is not None:
        names = f"{short(path)} and its copy in DVC's cache, {short(cached.path)}"
        yield Removal(names, then, (cached, file))
    elif file is not None:
        yield Removal(f"{short(path)}", then, (file,))


def _advice(inspection: Inspection) -> str | None:
    """Returns which command of DVC completes the output after the removals; None if nothing is missing."""
    place = short(inspection.output.place)
    if not inspection.is_known:
        return (
            f"DVC's cache has no intact list of {place}, so that nothing is known about its files, which "
            "stay: run `dvc repro`, which makes them again, and then this command once more"
        )
    recorded = [inspected for inspected in inspection.files if inspected.md5 is not None]
    if any(not (inspected.is_intact or inspected.is_cached) for inspected in recorded):
        return "run `dvc repro`, which makes again what is missing"
    only_cached = any(not inspected.is_intact for inspected in recorded)
    if inspection.lacks_list or any(not inspected.is_cached for inspected in recorded):
        checkout = f"`dvc checkout {place}` and then " if only_cached else ""
        return (
            f"run {checkout}`dvc commit {place}`, which stores intact files in DVC's cache, where their "
            "copies are missing: `dvc repro` alone would run the stage again"
        )
    return "run `dvc repro`, which brings back what is missing from DVC's cache" if only_cached else None


def _nothing_differs(path: Path) -> str:
    return (
        f"{path} is as DVC recorded it: nothing was removed. If a stage finds damage in it, it was damaged "
        "before that: --recorded removes it all the same, also for other clones that share the cache"
    )
