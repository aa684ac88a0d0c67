"""One file's statistics in a process of its own, without torch, whose memory would hide what is measured."""

import re
import time
from pathlib import Path

from pipeline.statistics.command import tally_columns
from pipeline.statistics.information import Information
from pipeline.statistics.tables import open_table


def count(path: str) -> None:
    """Prints seconds and the peak of memory in MB."""
    start = time.perf_counter()
    tallies, _ = tally_columns(open_table(Path(path)), "label", ["cluster"])
    tally = tallies["cluster"]
    information = Information(tally.labelled).mutual_information_bits
    seconds = time.perf_counter() - start
    assert tally.labelled.rows == tally.rows
    assert information < 0.01 + 1e5 / tally.rows  # drawn independently: what is there is the plug-in bias
    # getrusage would count what the parent held when it started this process.
    (peak_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(seconds, int(peak_kb) * 1024 / 1e6)
