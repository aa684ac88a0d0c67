"""Coverage of the true value by the 95 % intervals of corrected I(Z;T) and H(Z|T).

uv run python -m benchmarks.intervals --data ../shared/data
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray
from pyarrow import compute, csv

from benchmarks.harness import Goal, JsonFlag, Outcome
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import (
    Sampled,
    corrected_information,
    is_covered,
    joint_coverage,
)
from pipeline.statistics.information import Information
from pipeline.statistics.intervals import Interval

ROWS = (100, 200, 2_000, 8_937, 30_000, 100_000)
LEAST_SHOWN, MOST_SHOWN = 0.5, 0.9999
"""Range of joint coverage that is listed: below it, all is withheld; above it, the table is full."""
FASHION = ("fashion-products/manifest.csv", "label")
WIDER = ("wider-clusters/meta_data_train.csv", "class")
REAL = {
    "fashion: gender": (*FASHION, ["gender"]),
    "fashion: baseColour": (*FASHION, ["baseColour"]),
    "fashion: gender, usage, season": (*FASHION, ["gender", "usage", "season"]),
    "fashion: five attributes": (*FASHION, ["gender", "baseColour", "season", "year", "usage"]),
    "WIDER: 7 attributes": (*WIDER, ["label_gran_7"]),
    "WIDER: 14 attributes": (*WIDER, ["label_gran_14"]),
}
"""Tables whose rows are drawn with replacement: file, label, columns that are joined."""
FULL_FROM = 2_000
"""Number of rows above which a full table is not listed."""
NOTHING = "\N{EN DASH}"
Joint = NDArray[np.float64]


def measure(
    samples: int = 400,
    data: Annotated[Path | None, typer.Option(help="folder with real tables, too")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Samples of known populations; intervals that are withheld hold nothing and miss nothing."""
    outcome = Outcome("intervals")
    lines = [
        line
        for name, joint_KL in _populations(data)
        for rows in ROWS
        if (line := _held(name, joint_KL, rows, samples)) is not None
    ]
    outcome.tables[f"Share of {samples} samples whose 95 % interval holds the truth"] = lines
    held = [line["I held"] for line in lines if line["printed"] >= 0.5]
    # The standard error of a share of 400 samples is 0.015.
    outcome.goals.append(Goal("least share of printed intervals that hold I(Z;T)", min(held), 0.88))
    outcome.tell(as_json)


def _populations(data: Path | None) -> Iterator[tuple[str, Joint]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from known_distributions import of_large_tables, of_other_shapes, of_posts, of_small_tables

    posts = {name: joint_KL for name, joint_KL in of_posts().items() if not name.startswith("posts, 6")}
    yield from {**of_small_tables(), **of_large_tables(), **posts, **of_other_shapes()}.items()
    if data is not None:
        for name, (path, label, columns) in REAL.items():
            yield name, _joint_of(csv.read_csv(data / path), label, columns)


def _joint_of(table: pa.Table, label: str, columns: list[str]) -> Joint:
    """Returns the joint shares of a table's rows; rows without a label are left out."""
    table = table.filter(compute.is_valid(table[label]))
    parts = [compute.fill_null(table[column].cast(pa.string()), "") for column in columns]
    clusters = compute.binary_join_element_wise(*parts, "|") if len(parts) > 1 else parts[0]
    codes = (
        np.asarray(each.combine_chunks().dictionary_encode().indices) for each in (clusters, table[label])
    )
    clusters_N, labels_N = codes
    counts_KL = np.zeros((clusters_N.max() + 1, labels_N.max() + 1))
    np.add.at(counts_KL, (clusters_N, labels_N), 1)
    return np.asarray(counts_KL / counts_KL.sum())


def _held(name: str, joint_KL: Joint, rows: int, samples: int) -> dict[str, Any] | None:
    truth = _truth_bits(joint_KL)
    shares_KL = joint_KL.ravel()
    generator = np.random.default_rng(crc32(f"{name} {rows}".encode()))
    drawn = []
    for _ in range(samples):
        counts_KL = generator.multinomial(rows, shares_KL).reshape(joint_KL.shape)
        drawn.append(_of_sample(Contingency.of_table(counts_KL), truth))
        if not drawn[0]["coverage"] >= LEAST_SHOWN:
            return None
    mean = {key: float(np.mean([one[key] for one in drawn])) for key in drawn[0]}
    if mean["coverage"] > MOST_SHOWN and rows > FULL_FROM:
        return None
    printed = [one for one in drawn if one["covered"]]
    of_printed = {
        key: float(np.mean([one[key] for one in printed])) if printed else NOTHING
        for key in ("mutual held", "conditional held", "width")
    }
    return {
        "population": name,
        "I, bits": truth[0],
        "rows": rows,
        "joint coverage": mean["coverage"],
        "printed": mean["covered"],
        "I held": of_printed["mutual held"],
        "H held": of_printed["conditional held"],
        "width, bits": of_printed["width"],
        "error, bits": mean["error"],
        "I held, not extrapolated": mean["plain held"],
        "its error": mean["plain error"],
        "error of plug-in": mean["plug-in error"],
    }


def _of_sample(table: Contingency, truth: tuple[float, float]) -> dict[str, float]:
    corrected = corrected_information(table)
    mutual, conditional = corrected.mutual_information, corrected.conditional_entropy
    plain, std = _not_extrapolated(table)
    return {
        "coverage": joint_coverage(table),
        "covered": is_covered(table),
        "mutual held": _holds(mutual, truth[0]),
        "conditional held": _holds(conditional, truth[1]),
        "width": mutual.high - mutual.low,
        "error": abs(mutual.estimate - truth[0]),
        "plain held": _holds(Interval(plain, plain - 1.96 * std, plain + 1.96 * std), truth[0]),
        "plain error": abs(max(0.0, plain) - truth[0]),
        "plug-in error": abs(Information(table).mutual_information_bits - truth[0]),
    }


def _holds(interval: Interval, truth: float) -> bool:
    # If the truth is 0 or equals an entropy, rounding may lead to either side of it.
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def _not_extrapolated(table: Contingency) -> tuple[float, float]:
    """Returns Chao, Wang and Jost's I(Z;T), and its standard deviation by the jackknife."""
    mutual = (
        Sampled.entropy(table.cluster_sizes_K, table.clusters_C)
        + Sampled.entropy(table.label_sizes_L, table.labels_C)
        - Sampled.entropy(table.counts_C, np.arange(table.counts_C.size))
    )
    return mutual.all_rows, mutual.jackknife_variance(table.counts_C) ** 0.5


def _truth_bits(joint_KL: Joint) -> tuple[float, float]:
    """Returns I(Z;T) and H(Z|T)."""
    clusters, labels, joint = (
        -float(shares[shares > 0] @ np.log2(shares[shares > 0]))
        for shares in (joint_KL.sum(axis=1), joint_KL.sum(axis=0), joint_KL.ravel())
    )
    return max(0.0, clusters + labels - joint), joint - labels


if __name__ == "__main__":
    typer.run(measure)
