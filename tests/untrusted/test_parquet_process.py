"""The process that reads strangers' Parquet: its death costs a sentence, and it outlives nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import UserError
from pipeline.untrusted.isolation.parquet import (
    parquet_headers,
    records,
)
from pipeline.untrusted.safe_paths import SafePath
from support import REPOSITORY
from untrusted.parquet_table import write_grouped

pytestmark = pytest.mark.slow

CUT_SHORT = """#!{python}
import os, signal, subprocess, sys

ran = subprocess.run([sys.executable, *sys.argv[1:]], stdin=sys.stdin, capture_output=True, check=True)
sys.stdout.buffer.write(ran.stdout[:{bytes}])
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


HANGING = """#!{python}
import os, runpy, sys, time
from pathlib import Path

import pyarrow.parquet

def hang(*_arguments):
    Path({mark!r}).write_text(str(os.getpid()))
    time.sleep(600)

pyarrow.parquet.ParquetFile = hang
sys.argv = sys.argv[3:]
runpy.run_module("pipeline.untrusted.isolation.parquet_reader", run_name="__main__")
"""
ASKING = """
import signal
import sys
from pathlib import Path

# Where the tests run in the background of a shell, it is ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.isolation.parquet import parquet_headers

sys.executable = {python!r}
parquet_headers([SafePath(Path({path!r}))])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_grouped(tmp_path)


def test_a_reader_that_fails_is_no_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=f"^the process that should read {path} failed: why stands above"):
        list(records(SafePath(path), 100))
    with pytest.raises(UserError, match="failed"):
        parquet_headers([SafePath(path)] * 10_000)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_a_reader_that_is_killed_costs_a_sentence(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Before its first word, in a batch, and after its last."""
    python = tmp_path / "python"
    python.write_text(CUT_SHORT.format(python=sys.executable, bytes=int(share * 12_000)))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=rf"^{path} ends the process that reads it \(signal 9\): it is"):
        list(records(SafePath(path), 15))


def test_the_file_that_ends_the_reader_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many outlines come as were flushed before."""
    again = tmp_path / "b.parquet"
    again.write_bytes(path.read_bytes())
    python = tmp_path / "python"
    first = len(parquet_headers([SafePath(path)])[0].schema.serialize()) + 800
    python.write_text(CUT_SHORT.format(python=sys.executable, bytes=first))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=f"^{again} ends the process"):
        parquet_headers([SafePath(path), SafePath(again)])


# --- who is left behind -------------------------------------------------------------------------------------


def runs(process: int) -> bool:
    """Whether it does anything yet: a dead child of a dead process may wait for the system to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def within(seconds: float, happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def hanging_reader(tmp_path: Path) -> tuple[Path, Path]:
    """An interpreter whose reader hangs as on a disk that does not answer, and where it notes its number."""
    python, mark = tmp_path / "python", tmp_path / "reader"
    python.write_text(HANGING.format(python=sys.executable, mark=str(mark)))
    python.chmod(0o755)
    return python, mark


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_reader_that_hangs_ends_with_who_asked(path: Path, tmp_path: Path, number: int) -> None:
    python, mark = hanging_reader(tmp_path)
    script = ASKING.format(python=str(python), path=str(path))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL
    ) as asking:
        assert within(60, lambda: mark.exists() and mark.read_text() != "")
        reader = int(mark.read_text())
        assert runs(reader)
        asking.send_signal(number)
        asking.wait(20)
    assert within(10, lambda: not runs(reader))


def test_a_reader_that_waits_for_its_consumer_ends_with_it(path: Path, tmp_path: Path) -> None:
    """It hangs in writing: its pipe is full."""
    table = pa.table({"image": [bytes(1 << 20)] * 40})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    script = f"""
import os, signal, time
from pathlib import Path
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.isolation.parquet import records
taken = records(SafePath(Path({str(path)!r})), 1)
next(taken)
print(Path(f"/proc/self/task/{{os.getpid()}}/children").read_text(), flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        (reader,) = map(int, asking.stdout.readline().split())
        assert runs(reader)
        asking.kill()
    assert within(10, lambda: not runs(reader))
