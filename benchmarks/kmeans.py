"""K-means compared with faiss: the same points, start and iterations.

uv run --group bench python -m benchmarks.kmeans
"""

from statistics import median

import faiss
import torch
import typer
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.kmeans import KMeans, fit_kmeans

SEED = 7
OURS, FAISS = "clinfonce", "faiss-cpu"


def measure(
    points: int = 30_000,
    dim: int = 128,
    clusters: int = 1_000,
    iterations: int = 20,
    rounds: int = 5,
    as_json: JsonFlag = False,
) -> None:
    """Points in clumps, where both stop early since nothing moves any more, and points without any."""
    outcome = Outcome("kmeans")
    for name, drawn_ND in (("clumps", _clumps(points, dim, clusters)), ("no clumps", _noise(points, dim))):
        _compare(name, functional.normalize(drawn_ND, dim=1), clusters, iterations, rounds, outcome)
    outcome.tell(as_json)


def _compare(
    name: str, points_ND: Tensor, clusters: int, iterations: int, rounds: int, outcome: Outcome
) -> None:
    # fit_kmeans starts from the first `clusters` points of this shuffle.
    order_N = torch.randperm(len(points_ND), generator=torch.Generator().manual_seed(SEED))
    start_KD = points_ND[order_N[:clusters]].numpy()
    fitted: dict[str, tuple[int, float]] = {}

    def ours() -> None:
        run: KMeans = fit_kmeans(points_ND, clusters, max_iter=iterations, n_init=1, seed=SEED)
        fitted[OURS] = run.iterations, run.inertia

    def theirs() -> None:
        kmeans = faiss.Kmeans(
            points_ND.shape[1],
            clusters,
            niter=iterations,
            max_points_per_centroid=len(points_ND),
            min_points_per_centroid=1,
        )
        kmeans.train(points_ND.numpy(), init_centroids=start_KD)
        distances_N1, _ = kmeans.index.search(points_ND.numpy(), 1)
        fitted[FAISS] = len(kmeans.iteration_stats), float(distances_N1.sum())

    seconds = in_turns({OURS: ours, FAISS: theirs}, rounds)
    outcome.tables[f"{len(points_ND):,} x {points_ND.shape[1]}, k = {clusters:,}, {name}"] = [
        {
            "what": what,
            "seconds": median(seconds[what]),
            "iterations": fitted[what][0],
            "inertia": fitted[what][1],
        }
        for what in (OURS, FAISS)
    ]
    outcome.goals += [
        Goal(f"{name}: times as fast as faiss-cpu", times_as_fast(seconds, OURS, FAISS), 0.9),
        Goal(f"{name}: inertia by faiss-cpu's", fitted[OURS][1] / fitted[FAISS][1], 1.001, at_least=False),
    ]


def _clumps(points: int, dim: int, clusters: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centers_KD = torch.randn(clusters // 2, dim, generator=generator)
    owners_N = torch.randint(0, len(centers_KD), (points,), generator=generator)
    return centers_KD[owners_N] + torch.randn(points, dim, generator=generator)


def _noise(points: int, dim: int) -> Tensor:
    return torch.randn(points, dim, generator=torch.Generator().manual_seed(0))


if __name__ == "__main__":
    typer.run(measure)
