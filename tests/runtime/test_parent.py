"""No stage outlives the DVC that started it, at whatever moment DVC is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the signal")

ASKS_LATE = f"""
import os, signal, sys
parent = os.getppid()
open("started", "w").close()
os.read(os.open("go", os.O_RDONLY), 1)
sys.path.insert(0, {str(REPOSITORY)!r})
from pipeline.runtime.parent import end_with
end_with(parent, signal.SIGTERM)
open("survived", "w").close()
"""
ASKS_AT_ONCE = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pipeline.runtime.parent import end_with_dvc
end_with_dvc()
open("started", "w").close()
os.read(os.open("go", os.O_RDONLY), 1)
open("survived", "w").close()
"""


def started_below(folder: Path, command: str) -> tuple[subprocess.Popen[str], int]:
    """A shell in a session of its own, and the process that it starts as DVC starts a stage."""
    shell = subprocess.Popen(
        ["/bin/sh", "-c", f"({command}) 2>said & echo $!; wait"],
        cwd=folder,
        env=os.environ | {"DVC_STAGE": "pretrain@chosen", "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    return shell, int(shell.stdout.readline())


def killed(shell: subprocess.Popen[str]) -> None:
    shell.kill()
    shell.wait()
    assert shell.stdout is not None
    shell.stdout.close()


def wait_until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("program", [ASKS_LATE, ASKS_AT_ONCE], ids=["killed before", "killed after"])
def test_it_ends_whether_its_parent_dies_before_or_after_it_asks(tmp_path: Path, program: str) -> None:
    os.mkfifo(tmp_path / "go")
    (tmp_path / "program.py").write_text(program)
    shell, process = started_below(tmp_path, "exec $PYTHON program.py")
    wait_until((tmp_path / "started").exists)
    killed(shell)
    if program == ASKS_LATE:
        (tmp_path / "go").write_text("x")
    wait_until(lambda: is_gone(process))
    assert not (tmp_path / "survived").exists()


def test_it_goes_on_while_its_parent_lives(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    (tmp_path / "program.py").write_text(ASKS_AT_ONCE)
    shell, process = started_below(tmp_path, "exec $PYTHON program.py")
    (tmp_path / "go").write_text("x")
    wait_until(lambda: is_gone(process))
    killed(shell)
    assert (tmp_path / "survived").exists()


def test_a_stage_that_starts_as_an_orphan_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    shell, process = started_below(
        tmp_path, f"read _ < go; exec $PYTHON {REPOSITORY}/stages/pretrain.py chosen"
    )
    killed(shell)
    if (parent := parent_of(process)) != 1:
        os.kill(process, signal.SIGKILL)
        pytest.skip(f"orphans are adopted by process {parent}, not by init")
    (tmp_path / "go").write_text("x\n")
    wait_until(lambda: is_gone(process))
    assert (tmp_path / "said").read_text() == ""


def parent_of(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


def test_a_trainer_whose_dvc_dies_while_it_imports_torch_ends(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    shell, process = started_below(tmp_path, f"exec $PYTHON {REPOSITORY}/stages/pretrain.py chosen")
    wait_until(lambda: is_gone(process) or "torch" in Path(f"/proc/{process}/maps").read_text())
    killed(shell)
    wait_until(lambda: is_gone(process))
    # Had it lived, it would have said that there are no clusters.
    assert (tmp_path / "said").read_text() == ""
