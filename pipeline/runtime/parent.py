"""Ends this process when its parent dies. Import this module before anything that is slow to import."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_dvc() -> None:
    """Ends this process with SIGTERM when DVC dies, or if it has died; only on Linux.

    Symptom: DVC forwards no signals, so a killed `dvc repro` leaves its stage running, and the next
    `dvc repro` starts another. Cure: the kernel sends this process a signal when its parent dies. DVC must be
    the parent, so a stage's command in dvc.yaml starts with `exec`: a shell other than bash would otherwise
    stay between the two.

    This applies only to stages that DVC started; one started by hand may outlive its shell.
    """
    if "DVC_STAGE" in os.environ:
        end_with(os.getppid(), signal.SIGTERM)


def end_with(parent: int, number: signal.Signals) -> None:
    """Makes this process receive the signal when `parent` dies (on Linux), or at once if it has died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    # If the parent died before that call, the kernel sends no signal.
    if os.getppid() != parent or _adopted():
        os.kill(os.getpid(), number)


def _adopted() -> bool:
    """Returns whether init adopted this process before its first line.

    Init may be the real parent, as in a container that runs only `dvc repro`; then both are in one session.
    """
    return os.getppid() == 1 and os.getsid(0) != os.getsid(1)
