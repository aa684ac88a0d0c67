"""Statistics of one file in a separate process, without torch, whose memory would hide the measurement."""

import re
import time
from pathlib import Path

from pipeline.statistics.command import tally_columns
from pipeline.statistics.information import Information
from pipeline.statistics.tables import open_table


def count(path: str) -> None:
    """Prints the seconds and the peak memory in MB."""
    start = time.perf_counter()
    tallies, _ = tally_columns(open_table(Path(path)), "label", ["cluster"])
    tally = tallies["cluster"]
    information = Information(tally.labelled).mutual_information_bits
    seconds = time.perf_counter() - start
    assert tally.labelled.rows == tally.rows
    assert information < 0.01 + 1e5 / tally.rows  # drawn independently: the rest is the plug-in bias
    # getrusage would include what the parent held when it started this process.
    (peak_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(seconds, int(peak_kb) * 1024 / 1e6)
