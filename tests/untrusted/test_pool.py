"""An image that ends its process costs a refusal and little time, and the others nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.untrusted.isolation import workers
from pipeline.untrusted.isolation.limits import CPU_SECONDS, CRASHED, MEBIBYTES, STUCK, TOO_SLOW, limited
from pipeline.untrusted.isolation.pool import TRIES, Call, Pool
from pipeline.untrusted.isolation.workers import WorkerDied
from support import REPOSITORY
from untrusted import victims

pytestmark = pytest.mark.slow

SEGFAULT, ABORT, KILL = (
    ("signal", int(number)) for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL)
)
SPIN, SLEEP = ("spin",), ("sleep",)


def call(function: Any, items: list[Any], *arguments: Any) -> Call:
    return Call(function, items, arguments, victims.refused)


@pytest.fixture
def pool() -> Iterator[Pool]:
    opened = Pool(2)
    yield opened
    opened.close()


def test_calls_are_answered(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answers = [pool.submit(call(victims.all_of, list(range(n)))) for n in range(20)]
    assert [answer.result() for answer in answers] == [list(range(n)) for n in range(20)]
    found = pool.submit(call(victims.state, [])).result()
    assert found["pid"] != os.getpid()
    assert found["folder"] == str(tmp_path)
    # Neither it nor the process that it was forked from has a thread that could hold a lock.
    assert found["threads"] == [1, 1]


@pytest.mark.parametrize(
    ("item", "reason", "tries"),
    [
        (SEGFAULT, CRASHED, 2),
        (ABORT, CRASHED, 2),
        (KILL, CRASHED, 2),
        (SPIN, TOO_SLOW, 1),
        (SLEEP, STUCK, 2),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_an_image_that_ends_its_process_is_refused_alone(
    pool: Pool, tmp_path: Path, item: Any, reason: str, tries: int, place: int
) -> None:
    items: list[Any] = ["a", "b", "c"]
    items[place:place] = [item]
    log = tmp_path / "log"
    done = pool.submit(call(victims.all_of, items, str(log))).result()
    assert done == [*items[:place], f"refused: {reason}", *items[place + 1 :]]
    # Another process may have killed it, and a machine may sleep; processor time is its own.
    assert sum(str(item) in line for line in log.read_text().splitlines()) == tries


def test_several_of_a_call_and_of_several_calls(pool: Pool) -> None:
    items = [SEGFAULT, "a", KILL, SPIN, "b", ABORT]
    answers = [pool.submit(call(victims.all_of, items)) for _ in range(3)]
    for answer in answers:
        done = answer.result()
        assert [str(one).startswith("refused") for one in done] == [item not in ("a", "b") for item in items]


def test_a_new_process_takes_little_time(pool: Pool) -> None:
    pool.submit(call(victims.all_of, [])).result()
    started = time.perf_counter()
    done = pool.submit(call(victims.all_of, [ABORT] * 30)).result()
    assert done == [f"refused: {CRASHED}"] * 30
    # Sixty processes; a new interpreter that imports the decoders would take half a second each.
    assert time.perf_counter() - started < 10


def test_memory_is_refused_and_the_process_goes_on(pool: Pool) -> None:
    little, more, most = 2**20, (MEBIBYTES - 40) * 2**20, (MEBIBYTES + 60) * 2**20
    before = pool.submit(call(victims.state, [])).result()["pid"]
    items = [("bytes", count) for count in (more, most, little)]
    assert pool.submit(call(victims.all_of, items, None, 5.0)).result() == [more, True, little]
    assert before == pool.submit(call(victims.state, [])).result()["pid"]


def test_what_a_call_raises_is_raised(pool: Pool) -> None:
    with pytest.raises(ValueError, match="damaged") as raised:
        pool.submit(call(victims.all_of, [("raise", "damaged")])).result()
    assert "befall" in raised.value.__notes__[0]
    assert pool.submit(call(victims.all_of, [1])).result() == [1]


def test_who_dies_of_no_image_is_not_tried_for_ever(pool: Pool) -> None:
    with pytest.raises(WorkerDied) as died:
        pool.submit(call(victims.between, ["a"])).result()
    assert (died.value.number, died.value.exit) == (None, -signal.SIGKILL)
    assert TRIES > 1


def test_limits_are_for_workers() -> None:
    """Here they would end the tests."""
    before = signal.getitimer(signal.ITIMER_PROF)
    for item in limited(["a", "b"], 1):
        assert item == "b"
        assert signal.getitimer(signal.ITIMER_PROF) == before == (0.0, 0.0)


def test_a_pool_that_is_closed_waits_for_nobody(tmp_path: Path) -> None:
    pool, path = Pool(1), tmp_path / "pid"
    busy, waiting = (pool.submit(call(victims.stuck, [SLEEP], str(path))) for _ in range(2))
    wait_for(path.exists)
    started = time.perf_counter()
    pool.close()
    assert time.perf_counter() - started < 5
    assert waiting.cancelled()
    with pytest.raises(WorkerDied):
        busy.result()
    wait_for(lambda: not runs(int(path.read_text().split()[0])))


def test_a_server_that_is_killed_is_replaced(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    answer = pool.submit(call(victims.stuck, [SPIN], str(path)))
    wait_for(path.exists)
    worker, server = map(int, path.read_text().split())
    path.unlink()
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: not runs(worker))
    wait_for(path.exists)
    again, another = map(int, path.read_text().split())
    assert server != another
    os.kill(again, signal.SIGPROF)  # as if its time were over
    assert answer.result() is None


def test_no_process_can_be_started(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_started", None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="no process can be started to decode"):
        pool.submit(call(victims.all_of, [])).result()


# --- the process that asks ----------------------------------------------------------------------------------

SCRIPT = f"""
import signal, sys
from untrusted import victims
from pipeline.untrusted.isolation.pool import Call, Pool

# Ignored where the tests run in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
pool = Pool(1)
answer = pool.submit(Call(victims.stuck, [{SPIN}], (sys.argv[1],), victims.refused))
try:
    answer.result()
finally:
    pool.close()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan_is_left_in_a_decoder(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "pid"
    found = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        env=os.environ | {"PYTHONPATH": found},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(path.exists)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # Ctrl+C is for all of the terminal's
        else:
            process.send_signal(number)
        _, output = process.communicate(timeout=20)
    assert process.returncode != 0
    assert output.count("Traceback") == (number == signal.SIGINT)
    for one in map(int, path.read_text().split()):
        # Long before the image's own limit.
        wait_for(lambda one=one: not runs(one), seconds=CPU_SECONDS - 1)


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(happened: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
