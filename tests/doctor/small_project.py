"""Parameters of a project so small that its trainings take moments, and how to find a check."""

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.params import Params
from pipeline.doctor import trial_run as trial
from pipeline.doctor.base import Check
from support import TINY_PRETRAIN, params_with


def tiny(manifest: Path, **pretrain: Any) -> Params:
    return params_with(
        ingest={"source": "manifest", "path": str(manifest), "image_size": 12},
        cluster={"method": "attributes", "attributes": {"columns": ["colour"]}},
        pretrain=TINY_PRETRAIN | {"batch_size": 8} | pretrain,
    )


def write_params(folder: Path, params: Params) -> None:
    YAML().dump(params.model_dump(mode="json"), folder / "params.yaml")


def one(checks: Iterable[Check], what: str) -> Check:
    """The check of that name."""
    (found,) = [check for check in checks if check.what == what]
    return found


def run_trial_here(request: str, said: list[Path]) -> None:
    """The doctor's process for a trial, with its standard streams in files."""
    sys.stdin = io.StringIO(request)
    for stream, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    trial.main()
