"""Cores and memory that this process may use, which in a container are less than all.

They are read from Linux's files below `root`; elsewhere, they are what the system itself reports.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def whole_number(text: str, least: int, most: int) -> int | None:
    """Returns a variable's value if it is a number from `least` to `most` in plain digits, else None."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or not least <= int(text) <= most:
        return None
    return int(text)


def let_idle_threads_sleep() -> None:
    """Lets idle threads of GNU's OpenMP sleep, unless the environment says otherwise.

    Must be called before torch is imported. By default, the threads spin for a long time while they wait for
    each other, and a step takes several times as long if another program needs the cores too.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def usable_cores(root: Path = ROOT) -> float:
    """Returns the cores that this process may use: those it may run on, limited by its control groups.

    Fractions are possible: half a core is 0.5.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(affinity), *_granted_cores(root)])


def available_memory(root: Path = ROOT) -> int:
    """Returns the bytes that can be used without swapping or exceeding a control group's limit.

    A process that exceeds the limit is killed. If the system does not report them, returns all memory.
    """
    # Unlike sysconf's free pages, this includes the file cache, which can be reclaimed.
    available = re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    free = int(available[1]) * 1024 if available is not None else total_memory()
    return min([free, *_granted_memory(root)])


def total_memory() -> int:
    """Returns the bytes of memory of the machine."""
    return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def _granted_cores(root: Path) -> Iterator[float]:
    for group in _groups(root, "cpu"):
        # Version 2: "200000 100000", or "max 100000" without a limit. Version 1: -1 is no limit.
        limit = _text(group / "cpu.max").split() or [
            _text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
        ]
        if all(re.fullmatch(r"[1-9]\d*", number) for number in limit) and len(limit) == 2:
            yield int(limit[0]) / int(limit[1])


def _granted_memory(root: Path) -> Iterator[int]:
    for group in _groups(root, "memory"):
        for limit, usage, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            numbers = [_text(group / name).strip() for name in (limit, usage)]
            if all(number.isdigit() for number in numbers):
                # The file cache counts as used, but can be reclaimed.
                gives_way = re.search(rf"^{cached} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
                used = int(numbers[1]) - (int(gives_way[1]) if gives_way is not None else 0)
                yield max(0, int(numbers[0]) - used)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's control group and of its ancestors, whose limits also apply."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounted / controller if controllers else mounted
        # In a container, the path may be that of the host, while the group's own files are at the top.
        group = Path(path.lstrip("/"))
        yield from (top / part for part in dict.fromkeys([group, *group.parents, Path()]))


def _text(path: Path) -> str:
    """Returns the text of a file; empty if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
