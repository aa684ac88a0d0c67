"""How long a stage took, kept beside the states of unfinished trainings.

Times are no part of what a stage makes: in its outputs they would make every run's bytes new.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.files import sha256_of_file, state_root, write_json


@contextmanager
def timed(stage: str, made: Path) -> Iterator[None]:
    """Remembers how long the block took to write `made`, a file of `stage` such as `evaluate@chosen`."""
    started = time.monotonic()
    yield
    told = {"seconds": round(time.monotonic() - started, 3), "made": sha256_of_file(made)}
    write_json(_file(stage), told)


def seconds_of(stage: str, made: Path) -> float | None:
    """How long the run took that made these bytes; None where it was on another machine, or is forgotten."""
    try:
        told = json.loads(_file(stage).read_text(encoding="utf-8"))
        return float(told["seconds"]) if told["made"] == sha256_of_file(made) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(stage: str) -> Path:
    return state_root() / "times" / f"{stage}.json"
