"""Handling of signals that stop a training."""

import signal
from types import FrameType


class Interrupted(SystemExit):
    """Ends the program when a signal stopped the training, with the exit code of shells for that signal."""

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
