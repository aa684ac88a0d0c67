"""Seconds and peak memory of the statistics of 1 to 100 million rows from Parquet.

uv run python -m benchmarks.stream
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.harness import Goal, JsonFlag, Outcome


def measure(largest: int = 100_000_000, as_json: JsonFlag = False) -> None:
    """Counts Parquet files of growing length, each in a process of its own, imports included."""
    rows_of_table = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in (largest // 100, largest // 10, largest // 3, largest):
            path = Path(folder) / "rows.parquet"
            _write_rows(path, rows)
            program = f"from benchmarks.counting import count; count({str(path)!r})"
            counted = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True
            )
            seconds, megabytes = map(float, counted.stdout.split())
            rows_of_table.append(
                {
                    "rows": rows,
                    "Parquet, MB": path.stat().st_size / 1e6,
                    "seconds": seconds,
                    "peak memory, MB": megabytes,
                }
            )
            path.unlink()
    outcome = Outcome("stream", {"A column of text, 1,000 values, against 100 integers": rows_of_table})
    growth = rows_of_table[-1]["peak memory, MB"] / rows_of_table[1]["peak memory, MB"]
    outcome.goals.append(Goal("memory of all rows by that of a tenth", growth, 1.1, at_least=False))
    outcome.tell(as_json)


def _write_rows(path: Path, rows: int, at_once: int = 1_000_000) -> None:
    generator = np.random.default_rng(0)
    cluster_names = pa.array([f"cluster {code}" for code in range(1_000)])
    schema = pa.schema([("cluster", pa.string()), ("label", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, at_once):
            size = min(at_once, rows - start)
            names = cluster_names.take(pa.array(generator.integers(0, 1_000, size)))
            labels = pa.array(generator.integers(0, 100, size))
            writer.write_table(pa.table({"cluster": names, "label": labels}, schema))


if __name__ == "__main__":
    typer.run(measure)
