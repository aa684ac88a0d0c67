"""Mean absolute error of I(Z;T): the corrected information and other published estimators.

uv run python -m benchmarks.estimators
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.statistics.chao_wang_jost import entropy_nats
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import corrected_information
from pipeline.statistics.entropy import sizes_and_times
from pipeline.statistics.information import Information

Codes = NDArray[np.int64]


def estimators(samples: int = 20) -> None:
    """Mean absolute error of I(Z;T) in bits over samples of known distributions."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from known_distributions import of_other_shapes, of_posts, true_information_bits

    names = ["plug-in", *_ENTROPIES, "the same, extrapolated"]
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
    return [plug_in, *others, corrected_information(table).mutual_information.estimate]


def _miller_madow(counts: Codes) -> float:
    sizes, times = sizes_and_times(counts)
    rows = int(counts.sum())
    plug_in = math.log(rows) - float(times @ (sizes * np.log(sizes))) / rows
    return plug_in + (counts.size - 1) / (2 * rows)


def _grassberger(counts: Codes) -> float:
    from scipy.special import digamma

    sizes, times = sizes_and_times(counts)
    rows = int(counts.sum())
    parity = np.where(sizes % 2 == 0, 1.0, -1.0)
    correction = 0.5 * parity * (digamma((sizes + 1) / 2) - digamma(sizes / 2))
    return math.log(rows) - float(times @ (sizes * (digamma(sizes) + correction))) / rows


def _chao_shen(counts: Codes) -> float:
    sizes, times = sizes_and_times(counts)
    rows = int(counts.sum())
    once = min(int((counts == 1).sum()), rows - 1)
    shares = (1 - once / rows) * sizes / rows
    return -float(times @ (shares * np.log(shares) / -np.expm1(rows * np.log1p(-shares))))


def _chao_wang_jost(counts: Codes) -> float:
    return entropy_nats(*sizes_and_times(counts))


_ENTROPIES: dict[str, Callable[[Codes], float]] = {
    "Miller 1955": _miller_madow,
    "Grassberger 2003": _grassberger,
    "Chao and Shen 2003": _chao_shen,
    "Chao, Wang and Jost 2013": _chao_wang_jost,
}


if __name__ == "__main__":
    typer.run(estimators)
