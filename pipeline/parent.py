"""A process that ends when the one that started it does. To be imported before all that takes time."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_dvc() -> None:
    """Symptom: DVC forwards no signals, so a killed `dvc repro` leaves its stage running, and the next
    `dvc repro` starts another. Cure, on Linux: this process gets SIGTERM when DVC dies, or has died already.
    DVC must be its parent, so a stage's command in dvc.yaml starts with `exec`: a shell that is not bash
    would stay between the two.

    Only for a stage that DVC started: one started by hand may outlive its shell.
    """
    if "DVC_STAGE" in os.environ:
        end_with(os.getppid(), signal.SIGTERM)


def end_with(parent: int, number: signal.Signals) -> None:
    """This process gets the signal when `parent` dies, on Linux; at once where that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    # Of a parent that died before it was asked for, the kernel tells nothing.
    if os.getppid() != parent or _adopted():
        os.kill(os.getpid(), number)


def _adopted() -> bool:
    """Whether init took this process over before its first line. Init may be the true parent, as where a
    container runs nothing but `dvc repro`; then both are in one session."""
    return os.getppid() == 1 and os.getsid(0) != os.getsid(1)
