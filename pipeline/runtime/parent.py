"""Ends this process when its parent dies. To be imported before whatever takes time to import."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_dvc() -> None:
    """Symptom: DVC forwards no signals, so a killed `dvc repro` leaves its stage running, and the next
    `dvc repro` starts another. Cure, on Linux: this process gets SIGTERM when DVC dies, or if it has died.
    DVC must be its parent, so a stage's command in dvc.yaml starts with `exec`: a shell that is not bash
    would stay between the two.

    Only for a stage that DVC started: one started by hand may outlive its shell.
    """
    if "DVC_STAGE" in os.environ:
        end_with(os.getppid(), signal.SIGTERM)


def end_with(parent: int, number: signal.Signals) -> None:
    """Has this process get the signal when `parent` dies (on Linux), or at once if it has died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    # For a parent that died before that call the kernel sends no signal.
    if os.getppid() != parent or _adopted():
        os.kill(os.getpid(), number)


def _adopted() -> bool:
    """Whether init adopted this process before its first line. Init may be the real parent, as in a container
    that runs nothing but `dvc repro`; then both are in one session."""
    return os.getppid() == 1 and os.getsid(0) != os.getsid(1)
