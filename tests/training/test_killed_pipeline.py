"""`dvc repro` whose trainer is killed, or which is killed itself."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from project import Project

pytestmark = [pytest.mark.faults, pytest.mark.slow]


RETRAIN = ["dvc", "repro", "--force", "--single-item", "pretrain@chosen"]


def started_training(project: Project) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        RETRAIN,
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_state(root: Path, process: subprocess.Popen[bytes]) -> int:
    """Waits until the trainer has saved a state; returns its process id."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        if list(root.glob(".clinfonce/*/state-before.pt")) and (found := holder(root)):
            return found
        time.sleep(0.01)
    raise AssertionError("no state was saved in time")


def holder(root: Path) -> int | None:
    """The process that the lock names; None while it is being written."""
    return next((int(text) for path in root.glob(".clinfonce/*/lock") if (text := path.read_text())), None)


def is_running(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc to see whether a process lives")
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(project: Project) -> None:
    weights = project.root / "data/encoders/chosen/encoder.safetensors"
    undisturbed = weights.read_bytes()

    # First the trainer itself is killed, then, on the next try, DVC above it.
    with started_training(project) as process:
        os.kill(wait_for_state(project.root, process), signal.SIGKILL)
        assert process.wait(60) != 0
    assert not weights.exists()
    with started_training(project) as process:
        trainer = wait_for_state(project.root, process)
        while (found := holder(project.root)) is None or not is_running(found):
            time.sleep(0.01)  # the lock still names the trainer that was killed
        trainer = found
        os.kill(trainer, signal.SIGSTOP)  # so that it can't end before DVC has died
        process.kill()
    os.kill(trainer, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while is_running(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(trainer), "an orphan goes on training"
    assert not weights.exists()

    # SIGKILL leaves DVC's own lock behind; DVC sees that its holder is gone.
    done = project.run(*RETRAIN)
    assert "resuming from epoch" in done.stdout + done.stderr
    assert weights.read_bytes() == undisturbed
    left = {path.name for path in project.root.glob(".clinfonce/*")}
    assert left <= {"times"}, "a finished training leaves no state"
