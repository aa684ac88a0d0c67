"""What happens to a training when somebody stops it, or its parent dies."""

import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


class Interrupted(SystemExit):
    """Training was asked to stop, and has saved its state. Exits as a shell reports that signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)


class StopRequest:
    """Remembers SIGTERM and SIGINT until the loop has finished its step and can save."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number


def end_with_dvc() -> None:
    """Symptom: DVC forwards no signals, so a killed `dvc repro` leaves its trainer running, and the next
    `dvc repro` starts another. Cure, on Linux: the kernel sends this process SIGTERM when its parent dies.
    The parent must be DVC itself, so the stage's command in dvc.yaml starts with `exec`: a shell that is
    not bash would stay between the two.

    Only for a stage that DVC started: a training started by hand may outlive its shell.
    """
    if sys.platform == "linux" and "DVC_STAGE" in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
