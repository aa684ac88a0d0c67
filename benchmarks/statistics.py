"""I(Z;T) of ten million rows, compared with scikit-learn and DuckDB.

uv run --group bench python -m benchmarks.statistics
"""

from collections.abc import Callable
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score

from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information

ROWS, CLUSTERS, LABELS = 10_000_000, 10_000, 1_000
OURS, SCIKIT_LEARN, DUCKDB = (
    "clinfonce, table and I(Z;T)",
    "scikit-learn, mutual_info_score",
    "DuckDB, GROUP BY",
)
Codes = NDArray[np.int64]


def measure(rounds: int = 5, as_json: JsonFlag = False) -> None:
    """From two arrays of codes; DuckDB only groups and counts, from its own table, on all cores."""
    outcome = Outcome("statistics")
    for name, draw in {"even": even_codes, "skewed": skewed_codes}.items():
        clusters_N, labels_N = draw(np.random.default_rng(0))
        contenders: dict[str, Callable[[], object]] = {
            OURS: lambda: Information(Contingency.of_codes(clusters_N, labels_N)).mutual_information_bits,  # noqa: B023
            SCIKIT_LEARN: lambda: mutual_info_score(labels_N, clusters_N),  # noqa: B023
            DUCKDB: _group_by(clusters_N, labels_N),
        }
        seconds = in_turns(contenders, rounds)
        outcome.tables[f"{ROWS:,} rows, {CLUSTERS:,} clusters, {LABELS:,} labels, {name}"] = [
            {
                "what": what,
                "seconds": median(seconds[what]),
                "clinfonce is faster": f"{times_as_fast(seconds, OURS, what):.1f} x",
            }
            for what in contenders
        ]
        if name == "even":
            outcome.goals.append(
                Goal("times as fast as scikit-learn", times_as_fast(seconds, OURS, SCIKIT_LEARN), 40)
            )
        outcome.goals.append(
            Goal(f"{name}: times as fast as DuckDB", times_as_fast(seconds, OURS, DUCKDB), 1)
        )
    outcome.tell(as_json)


def even_codes(generator: np.random.Generator) -> tuple[Codes, Codes]:
    """Draws codes that fill the table evenly: the hardest case for all."""
    return generator.integers(0, CLUSTERS, ROWS), generator.integers(0, LABELS, ROWS)


def skewed_codes(generator: np.random.Generator) -> tuple[Codes, Codes]:
    """Draws codes distributed like hashtags; half of the labels follow from the cluster."""
    clusters_N = generator.zipf(1.3, ROWS) % CLUSTERS
    labels_N = np.where(generator.random(ROWS) < 0.5, clusters_N % LABELS, generator.zipf(1.5, ROWS) % LABELS)
    return clusters_N, labels_N


def _group_by(clusters_N: Codes, labels_N: Codes) -> Callable[[], object]:
    connection = duckdb.connect()
    table = pa.table({"z": clusters_N, "t": labels_N})
    connection.register("arrow_table", table)
    connection.execute("CREATE TABLE rows AS SELECT * FROM arrow_table")
    # The sum avoids copying the groups out, which is not part of the grouping.
    query = "SELECT sum(n) FROM (SELECT z, t, count(*) AS n FROM rows GROUP BY z, t)"
    return lambda: connection.execute(query).fetchall()


if __name__ == "__main__":
    typer.run(measure)
