"""The folders that DVC removes before a stage runs, and files in them that no stage wrote.

Symptom: photographs that a user put into data/images are gone. Cause: DVC removes an output as a whole before
its stage runs, and `dvc exp run` removes it before any stage, by a forced checkout. No code of a stage runs
that early, and `persist: true` does not help: it works only for `dvc repro`, and excludes the stage from
DVC's run-cache. Cure: no parameter may name a path in such a folder, no command writes there, `clinfonce
doctor` lists such files, and a stage that runs without DVC removes only files that a stage wrote.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.errors import UserError, listed
from pipeline.storage.files import replaced_directory, users_project
from pipeline.storage.schema import ArmName, Layout

ELSEWHERE = "keep your own files in another folder, such as catalogue/"
IMAGE_FILES = re.compile(r"(train|test)-\d+-of-\d+\.parquet|(rejects|duplicates)\.parquet|summary\.json")
ENCODER_FILES = re.compile(
    r"encoder\.safetensors|config\.json|README\.md|(history|timing|trajectory)\.csv|assignments\.parquet"
)
EVALUATION_FILES = re.compile(
    r"README\.md|metrics\.json|(per_class|trajectory)\.csv|(predictions|map|nearest)\.parquet"
)
_HALF_WRITTEN = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")
"""Names of `write_atomically`."""
_HALF_WRITTEN_BY_DVC = re.compile(r"\.[\w-]{22}\.tmp", re.ASCII)


def output_folders(layout: Layout) -> dict[Path, re.Pattern[str]]:
    """Returns the folders that dvc.yaml lists as outputs, each with the file names that its stage writes."""
    return {
        layout.images: IMAGE_FILES,
        **{layout.encoder(arm): ENCODER_FILES for arm in ArmName},
        **{layout.evaluation(arm): EVALUATION_FILES for arm in ArmName},
    }


@contextmanager
def replaced_output(folder: Path, own: re.Pattern[str]) -> Iterator[Path]:
    """Same as `replaced_directory`, but raises `UserError` if `folder` holds files that no stage wrote.

    They are looked for before the block, and again after it.
    """
    _check_is_own(folder, own)
    with replaced_directory(folder, lambda _: _remove_own(folder, own)) as fresh:
        yield fresh


def _check_is_own(folder: Path, own: re.Pattern[str]) -> None:
    if theirs := foreign_files(folder, own):
        raise UserError(
            f"{folder} holds {listed(theirs, 4)}, which no stage wrote, and would be replaced: {ELSEWHERE}"
        )


def _remove_own(folder: Path, own: re.Pattern[str]) -> None:
    """Removes an output folder by the names of its files: what a user puts there meanwhile stays."""
    if folder.is_symlink() or not folder.is_dir():
        return  # the move that follows fails if something else stands there
    _check_is_own(folder, own)
    for name in os.listdir(folder):
        if _is_own(name, own):
            (folder / name).unlink()
    try:
        folder.rmdir()
    except OSError:
        _check_is_own(folder, own)
        raise


def foreign_files(folder: Path, own: re.Pattern[str]) -> list[str]:
    """Returns the names in an output folder that its stage does not write, sorted."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        # No stage writes a folder there, whatever its name.
        return sorted(
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or not _is_own(entry.name, own)
        )


def _is_own(name: str, own: re.Pattern[str]) -> bool:
    if half_written := _HALF_WRITTEN.fullmatch(name):
        name = half_written["name"]
    return bool(own.fullmatch(name) or _HALF_WRITTEN_BY_DVC.fullmatch(name))


def is_foreign(path: Path) -> bool:
    """Returns whether `path` lies in an output folder, and no stage writes a file of its name there."""
    output = output_that_holds(path)
    return output is not None and not output_folders(Layout())[output].fullmatch(path.name)


def check_is_no_output(path: Path, name: str) -> None:
    """Raises `UserError` if `path`, the value of the option `name`, lies in an output folder."""
    if (output := output_that_holds(path)) is not None:
        raise UserError(f"{name} {path} {_lies_in(output)}")


def conflict_with_outputs(path: Path) -> str | None:
    """Returns why `path` can't hold a user's own files, as the end of a sentence, or None if it can."""
    if (output := output_that_holds(path)) is not None:
        return _lies_in(output)
    place = Path(os.path.realpath(path))
    for output, folder in _places_of_outputs():
        if output.is_relative_to(place) and os.path.isdir(place):
            return f"holds {folder}, which DVC empties before a stage runs: {ELSEWHERE}"
    return None


def output_that_holds(path: Path) -> Path | None:
    """Returns the output folder that `path` is or lies in. `path` need not exist; links are followed."""
    place = Path(os.path.realpath(path))
    return next((folder for output, folder in _places_of_outputs() if place.is_relative_to(output)), None)


def _lies_in(output: Path) -> str:
    return f"lies in {output}, which DVC empties before a stage runs: {ELSEWHERE}"


def _places_of_outputs() -> Iterator[tuple[Path, Path]]:
    """Yields the real path and the name of each output folder of this project, and of the one of which it may
    be DVC's temporary copy."""
    for root in {Path(), users_project()}:
        for folder in output_folders(Layout()):
            yield Path(os.path.realpath(root / folder)), folder
