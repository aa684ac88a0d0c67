"""K-means beside faiss: the same points, start and iterations, in one run.

    python benchmarks/kmeans.py            30,000 x 128 on the CPU, k = 1,000

faiss is no dependency of the project: where it is not installed, its row says so.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
import typer
from torch.nn import functional

from pipeline.clustering.lloyd import fit_kmeans

SEED = 7


def measure(
    points: int = 30_000, dim: int = 128, clusters: int = 1_000, iterations: int = 20, runs: int = 5
) -> None:
    """Prints seconds (the fastest of the runs, taken in turns) and inertia, as a Markdown table."""
    generator = torch.Generator().manual_seed(0)
    centers_KD = torch.randn(clusters // 2, dim, generator=generator)
    owners_N = torch.randint(0, len(centers_KD), (points,), generator=generator)
    noise_ND = torch.randn(points, dim, generator=generator)
    points_ND = functional.normalize(centers_KD[owners_N] + noise_ND, dim=1)
    # fit_kmeans starts from the first `clusters` points of this shuffle.
    start = points_ND[torch.randperm(points, generator=torch.Generator().manual_seed(SEED))[:clusters]]

    def ours() -> float:
        return fit_kmeans(points_ND, clusters, iterations=iterations, restarts=1, seed=SEED).inertia

    contenders: dict[str, Callable[[], float]] = {"clinfonce": ours}
    if find_spec("faiss"):
        import faiss

        def theirs() -> float:
            kmeans = faiss.Kmeans(dim, clusters, niter=iterations, nredo=1, max_points_per_centroid=points)
            kmeans.train(points_ND.numpy(), init_centroids=start.numpy())
            distances, _ = kmeans.index.search(points_ND.numpy(), 1)
            return float(distances.sum())

        contenders["faiss"] = theirs
    else:
        print("faiss is not installed here: no row for it")

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    inertia: dict[str, float] = {}
    for _ in range(runs):
        for name, run in contenders.items():
            started = time.perf_counter()
            inertia[name] = run()
            seconds[name].append(time.perf_counter() - started)
    threads = torch.get_num_threads()
    print(f"\n{points:,} x {dim}, k = {clusters:,}, {iterations} iterations, {threads} threads\n")
    print("| what | seconds | inertia |\n|---|---|---|")
    for name in contenders:
        print(f"| {name} | {min(seconds[name]):.3f} | {inertia[name]:.2f} |")
    if "faiss" in contenders:
        speed = min(seconds["faiss"]) / min(seconds["clinfonce"])
        quality = inertia["clinfonce"] / inertia["faiss"]
        print(f"\nspeed against faiss {speed:.2f}, inertia against faiss {quality:.5f}")


if __name__ == "__main__":
    typer.run(measure)
