"""Runs Git, which reads the repository for the report, the doctor, `compare` and studies."""

import subprocess
from pathlib import Path

from pipeline.runtime.errors import UserError

INSTALL = "install Git, in which DVC keeps experiments"


def run_git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[bytes]:
    """What it printed, and how it ended. Raises `UserError` where it is not installed."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603
    except OSError as error:
        raise UserError(f"git can't be started ({error.strerror}): {INSTALL}") from None
