"""What a container leaves of a machine, from files as Linux writes them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runtime.resources import available_memory, total_memory, usable_cores

GIB = 2**30
Files = dict[str, str]


@pytest.fixture
def root(tmp_path: Path) -> Callable[[Files], Path]:
    def write(files: Files) -> Path:
        for name, text in ({"proc/meminfo": "MemTotal: 1 kB\nMemAvailable:    8388608 kB\n"} | files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def of_two(path: str, **files: str) -> Files:
    """Files of a control group of version 2."""
    return {
        "proc/self/cgroup": "0::/kube/pod\n",
        **{f"sys/fs/cgroup/{path}{name.replace('_', '.', 1)}": text for name, text in files.items()},
    }


@pytest.mark.parametrize("path", ["kube/pod/", "kube/", ""])
def test_limits_of_the_group_and_of_those_around_it_hold(root: Callable[[Files], Path], path: str) -> None:
    """3 GiB, of which 2 are taken, half of that by the file cache; and one and a half cores of many."""
    found = root(
        of_two(
            path,
            memory_max=f"{3 * GIB}\n",
            memory_current=f"{2 * GIB}\n",
            memory_stat=f"anon 5\ninactive_file {GIB}\nactive_file 9\n",
            cpu_max="50000 100000\n",
        )
    )
    assert available_memory(found) == 2 * GIB
    assert usable_cores(found) == 0.5


def test_no_limit_leaves_what_the_machine_has(root: Callable[[Files], Path]) -> None:
    found = root(
        of_two("kube/pod/", memory_max="max\n", memory_current="7\n", cpu_max="max 100000\n"),
    )
    assert available_memory(found) == 8 * GIB
    assert usable_cores(found) == len(os.sched_getaffinity(0))


def test_control_groups_of_version_1(root: Callable[[Files], Path]) -> None:
    """In a container, where the group's own files lie at the top."""
    found = root(
        {
            "proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
            "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GIB // 4}\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert available_memory(found) == 3 * GIB // 4
    assert usable_cores(found) == 0.25


def test_a_group_that_is_full_leaves_nothing(root: Callable[[Files], Path]) -> None:
    found = root(of_two("", memory_max="100\n", memory_current="120\n"))
    assert available_memory(found) == 0


def test_this_machine_tells_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 0 < available_memory() <= total_memory()
    assert 0 < usable_cores() <= (os.cpu_count() or 1)
    assert available_memory(tmp_path) == total_memory(), "nothing is told there"
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores(tmp_path) == os.cpu_count()
