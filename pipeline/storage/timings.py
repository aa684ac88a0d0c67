"""The durations of stages, stored beside the checkpoints of unfinished trainings.

Times are not part of a stage's outputs, whose bytes they would change at every run.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.files import sha256_of_file, state_root, write_json


@contextmanager
def timed(stage: str, output: Path) -> Iterator[None]:
    """Records how long the block took to write `output`, a file of `stage` such as `evaluate@chosen`."""
    started = time.monotonic()
    yield
    record = {"seconds": round(time.monotonic() - started, 3), "made": sha256_of_file(output)}
    write_json(_file(stage), record)


def seconds_of(stage: str, output: Path) -> float | None:
    """Returns the seconds of the run that wrote these bytes; None if not recorded on this machine."""
    try:
        record = json.loads(_file(stage).read_text(encoding="utf-8"))
        return float(record["seconds"]) if record["made"] == sha256_of_file(output) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(stage: str) -> Path:
    return state_root() / "times" / f"{stage}.json"
