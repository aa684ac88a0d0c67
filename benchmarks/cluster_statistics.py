"""Speed, memory and error of the statistics.

    python benchmarks/cluster_statistics.py COMMAND

    speed        10 million rows in memory: scikit-learn and DuckDB beside it
    stream       1 to 100 million rows out of Parquet: seconds, peak memory
    estimators   the corrected information and other published estimators

DuckDB is no dependency of the project: where it is not installed, its row says so.
"""

import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from pipeline.statistics.chance import expected_mutual_information_bits
from pipeline.statistics.command import tally_columns
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import corrected_information
from pipeline.statistics.entropy import sizes_and_times
from pipeline.statistics.information import Information
from pipeline.statistics.tables import open_table

ROWS, CLUSTERS, LABELS = 10_000_000, 10_000, 1_000
SCIKIT_LEARN = "scikit-learn `mutual_info_score`"
EXPECTATION = "clinfonce, E[I] by chance from the table, exact"
Codes = NDArray[np.int64]

app = typer.Typer(help=__doc__, rich_markup_mode=None, add_completion=False)


def uniform_codes(generator: np.random.Generator) -> tuple[Codes, Codes]:
    return generator.integers(0, CLUSTERS, ROWS), generator.integers(0, LABELS, ROWS)


def zipf_codes(generator: np.random.Generator) -> tuple[Codes, Codes]:
    """As hashtags are, and half of the labels follow the cluster."""
    clusters_N = generator.zipf(1.3, ROWS) % CLUSTERS
    labels_N = np.where(generator.random(ROWS) < 0.5, clusters_N % LABELS, generator.zipf(1.5, ROWS) % LABELS)
    return clusters_N, labels_N


@app.command()
def speed(repeats: int = 5) -> None:
    """I(Z;T) of 10 million rows, the fastest of several runs each, one after the other in one process."""
    print("| rows, 10,000 clusters, 1,000 labels | what | seconds | against scikit-learn |")
    print("|---|---|---|---|")
    for draw in (uniform_codes, zipf_codes):
        clusters_N, labels_N = draw(np.random.default_rng(0))
        runs: dict[str, Callable[[], object] | None] = {
            SCIKIT_LEARN: _scikit_learn(clusters_N, labels_N),
            "DuckDB `GROUP BY`, 2 columns": _duckdb_group_by(clusters_N, labels_N),
            "clinfonce, table and I(Z;T)": lambda: _clinfonce(clusters_N, labels_N),  # noqa: B023
            EXPECTATION: _expectation(clusters_N, labels_N),
        }
        seconds_of = {name: _fastest(run, repeats) if run else None for name, run in runs.items()}
        reference = seconds_of[SCIKIT_LEARN]
        assert reference is not None
        for name, seconds in seconds_of.items():
            if seconds is None:
                print(f"| {draw.__name__} | {name} | not installed | |")
            else:
                ratio = "" if name == EXPECTATION else f"{reference / seconds:.0f} x"
                print(f"| {draw.__name__} | {name} | {seconds:.3f} | {ratio} |")


def _clinfonce(clusters_N: Codes, labels_N: Codes) -> float:
    return Information(Contingency.of_codes(clusters_N, labels_N)).mutual_information_bits


def _expectation(clusters_N: Codes, labels_N: Codes) -> Callable[[], object]:
    table = Contingency.of_codes(clusters_N, labels_N)
    return lambda: expected_mutual_information_bits(table)


def _scikit_learn(clusters_N: Codes, labels_N: Codes) -> Callable[[], object]:
    from sklearn.metrics import mutual_info_score

    return lambda: mutual_info_score(labels_N, clusters_N)


def _duckdb_group_by(clusters_N: Codes, labels_N: Codes) -> Callable[[], object] | None:
    if find_spec("duckdb") is None:
        return None
    import duckdb

    connection = duckdb.connect()
    table = pa.table({"z": clusters_N, "t": labels_N})
    connection.register("arrow_table", table)
    connection.execute("CREATE TABLE rows AS SELECT * FROM arrow_table")
    # The sum keeps the groups from being copied out, which is no part of the grouping.
    query = "SELECT sum(n) FROM (SELECT z, t, count(*) AS n FROM rows GROUP BY z, t)"
    return lambda: connection.execute(query).fetchall()


def _fastest(run: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@app.command()
def stream(largest: int = 100_000_000) -> None:
    """Counts Parquet files of growing length, each in a process of its own."""
    print("| rows | Parquet, MB | seconds | peak memory, MB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in (largest // 100, largest // 10, largest // 3, largest):
            path = Path(folder) / "rows.parquet"
            _write_rows(path, rows)
            counted = subprocess.run(
                [sys.executable, __file__, "count", str(path)], capture_output=True, text=True, check=True
            )
            print(f"| {rows:,} | {path.stat().st_size / 1e6:.0f} | {counted.stdout.strip()} |")
            path.unlink()


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


@app.command(hidden=True)
def count(path: Path) -> None:
    start = time.perf_counter()
    tally = tally_columns(open_table(path), "label", ["cluster"])["cluster"]
    information = Information(tally.labelled).mutual_information_bits
    seconds = time.perf_counter() - start
    assert tally.labelled.rows == tally.rows
    assert information < 0.2  # drawn independently: what is there is the plug-in bias
    print(f"{seconds:.1f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f}")


@app.command()
def estimators(samples: int = 20) -> None:
    """Mean absolute error of I(Z;T) in bits over samples of known distributions."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "statistics"))
    from known_distributions import of_other_shapes, of_posts, true_information_bits

    names = ["plug-in", *_ENTROPIES, "Chao, Wang and Jost 2013"]
    print(f"| distribution | I, bits | rows | {' | '.join(names)} |")
    print("|---" * (3 + len(names)) + "|")
    totals: dict[int, list[NDArray[np.float64]]] = {}
    for name, joint_KL in {**of_posts(), **of_other_shapes()}.items():
        truth = true_information_bits(joint_KL)
        for rows in (1_000, 4_000, 16_000, 64_000):
            generator = np.random.default_rng(rows)
            drawn = generator.multinomial(rows, joint_KL.ravel(), size=samples)
            estimates = [_all_estimates(one.reshape(joint_KL.shape)) for one in drawn]
            errors = np.abs(np.array(estimates) - truth).mean(axis=0)
            totals.setdefault(rows, []).append(errors)
            print(f"| {name} | {truth:.3f} | {rows:,} | {' | '.join(f'{error:.3f}' for error in errors)} |")
    for rows, errors_of_all in totals.items():
        means = np.mean(errors_of_all, axis=0)
        print(f"| **mean** | | {rows:,} | {' | '.join(f'**{error:.3f}**' for error in means)} |")


def _all_estimates(counts_KL: Codes) -> list[float]:
    table = Contingency.of_table(counts_KL)
    others = []
    for entropy in _ENTROPIES.values():
        nats = (
            entropy(table.cluster_sizes_K[table.cluster_sizes_K > 0])
            + entropy(table.label_sizes_L[table.label_sizes_L > 0])
            - entropy(table.counts_C)
        )
        others.append(max(0.0, nats / math.log(2)))
    plug_in = Information(table).mutual_information_bits
    return [plug_in, *others, corrected_information(table).mutual_information_bits]


def _miller_madow(counts: Codes) -> float:
    sizes, times = sizes_and_times(counts)
    rows = counts.sum()
    plug_in = math.log(rows) - float(times @ (sizes * np.log(sizes))) / rows
    return plug_in + (counts.size - 1) / (2 * rows)


def _grassberger(counts: Codes) -> float:
    from scipy.special import digamma

    sizes, times = sizes_and_times(counts)
    rows = counts.sum()
    parity = np.where(sizes % 2 == 0, 1.0, -1.0)
    correction = 0.5 * parity * (digamma((sizes + 1) / 2) - digamma(sizes / 2))
    return math.log(rows) - float(times @ (sizes * (digamma(sizes) + correction))) / rows


def _chao_shen(counts: Codes) -> float:
    sizes, times = sizes_and_times(counts)
    rows = counts.sum()
    once = min(int((counts == 1).sum()), rows - 1)
    shares = (1 - once / rows) * sizes / rows
    return -float(times @ (shares * np.log(shares) / -np.expm1(rows * np.log1p(-shares))))


_ENTROPIES: dict[str, Callable[[Codes], float]] = {
    "Miller 1955": _miller_madow,
    "Grassberger 2003": _grassberger,
    "Chao and Shen 2003": _chao_shen,
}


if __name__ == "__main__":
    app()
