"""The folders that DVC removes before a stage runs, and what in them no stage wrote.

Symptom: photographs that a user put into data/images are gone. Cause: DVC removes an output as a whole before
its stage runs, and `dvc exp run` once more, by a forced checkout, before any stage. No code of a stage runs
that early, and `persist: true` is no cure: it holds for `dvc repro` alone, and takes the stage out of DVC's
run-cache. Cure: no parameter may name a place in such a folder, no command writes there, `clinfonce doctor`
says what lies there, and a stage that runs without DVC removes nothing that no stage wrote.
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
EVALUATION_FILES = re.compile(r"metrics\.json|(per_class|trajectory)\.csv|(predictions|map|nearest)\.parquet")
_HALF_WRITTEN = re.compile(r"\..*\.tmp")


def output_folders(layout: Layout) -> dict[Path, re.Pattern[str]]:
    """Those that dvc.yaml lists as outputs, each with the names of the files that its stage writes."""
    return {
        layout.images: IMAGE_FILES,
        **{layout.encoder(arm): ENCODER_FILES for arm in ArmName},
        **{layout.evaluation(arm): EVALUATION_FILES for arm in ArmName},
    }


@contextmanager
def replaced_output(folder: Path, own: re.Pattern[str]) -> Iterator[Path]:
    """As `replaced_directory`. Raises `UserError` where `folder` holds files that no stage wrote."""
    if theirs := foreign_files(folder, own):
        raise UserError(
            f"{folder} holds {listed(theirs, 4)}, which no stage wrote, and would be replaced: {ELSEWHERE}"
        )
    with replaced_directory(folder) as fresh:
        yield fresh


def foreign_files(folder: Path, own: re.Pattern[str]) -> list[str]:
    """Names in an output's folder that its stage does not write, sorted."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if not (own.fullmatch(name) or _HALF_WRITTEN.fullmatch(name)))


def is_foreign(path: Path) -> bool:
    """Whether `path` lies in an output's folder, and no stage writes a file of its name there."""
    output = output_that_holds(path)
    return output is not None and not output_folders(Layout())[output].fullmatch(path.name)


def check_is_no_output(path: Path, name: str) -> None:
    """Raises `UserError` where `path`, which `name` names, would be written into an output's folder."""
    if (output := output_that_holds(path)) is not None:
        raise UserError(f"{name} {path} {_lies_in(output)}")


def conflict_with_outputs(path: Path) -> str | None:
    """Why `path` can't be the place of a user's own files, as the end of a sentence; None: it can."""
    if (output := output_that_holds(path)) is not None:
        return _lies_in(output)
    place = Path(os.path.realpath(path))
    for output, folder in _places_of_outputs():
        if output.is_relative_to(place) and os.path.isdir(place):
            return f"holds {folder}, which DVC empties before a stage runs: {ELSEWHERE}"
    return None


def output_that_holds(path: Path) -> Path | None:
    """The output's folder that `path` is or lies in, which need not be there; links are followed."""
    place = Path(os.path.realpath(path))
    return next((folder for output, folder in _places_of_outputs() if place.is_relative_to(output)), None)


def _lies_in(output: Path) -> str:
    return f"lies in {output}, which DVC empties before a stage runs: {ELSEWHERE}"


def _places_of_outputs() -> Iterator[tuple[Path, Path]]:
    """The outputs' folders of this project, and of the one of which it may be DVC's temporary copy: where
    each lies, and its name."""
    for root in {Path(), users_project()}:
        for folder in output_folders(Layout()):
            yield Path(os.path.realpath(root / folder)), folder
