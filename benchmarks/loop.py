"""The whole training loop in images per second, compared with lightly and a plain PyTorch loop.

uv run --group bench python -m benchmarks.loop
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.contenders import Ours, Peer, Setting, decoded, encoded_images, lightlys, plain
from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.runtime.device import compute_dtype

OURS, OURS_EQUAL, IN_PLACE = "clinfonce", "clinfonce, as the peers", "clinfonce, batch in place"
CPU = torch.device("cpu")


def measure(
    sizes: Annotated[list[int], typer.Option("--size")] = [32, 64],  # noqa: B006 - typer's way
    papers_stem: Annotated[
        bool, typer.Option(help="3x3 first layer, stride 1 or 2; else the ResNet is torchvision's as it is")
    ] = False,
    images: int = 1024,
    batch: int = 128,
    steps: int = 4,
    rounds: int = 3,
    most_workers: int = 2,
    as_json: JsonFlag = False,
) -> None:
    """ResNet-18 at 32 and 64 pixels. Peers in float32 and contiguous, as their examples ship them."""
    outcome = Outcome("loop")
    for size in sizes:
        setting = Setting("resnet18", size, batch, CPU, "auto" if papers_stem else 4)
        _compare(setting, images, steps, rounds, most_workers, outcome)
    outcome.tell(as_json)


def _compare(
    setting: Setting, images: int, steps: int, rounds: int, most_workers: int, outcome: Outcome
) -> None:
    size, batch = setting.size, setting.batch
    encoded = encoded_images(images, size)
    store = decoded(encoded)
    fast, equal = Ours(setting, store, compute_dtype("auto", CPU)), Ours(setting, store, torch.float32)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: fast.run(steps),
        IN_PLACE: lambda: fast.run_in_place(steps),
        OURS_EQUAL: lambda: equal.run(steps),
    }
    peers: dict[str, Callable[..., Peer]] = {"plain loop": plain, "lightly": lightlys}
    as_shipped, as_ours = [], []
    for name, peer in peers.items():
        for workers in range(most_workers + 1):
            shipped = peer(setting, encoded, workers)
            runs[f"{name}, {workers} workers"] = partial(shipped.run, steps)
            as_shipped.append(f"{name}, {workers} workers")
            alike = peer(setting, encoded, workers, channels_last=True)
            runs[f"{name}, {workers} workers, channels-last"] = partial(alike.run, steps)
            as_ours.append(f"{name}, {workers} workers, channels-last")
    # The peers' workers prefetch after their turn.
    seconds = in_turns(runs, rounds, pause_seconds=1.0)
    rate = {name: steps * batch / median(times) for name, times in seconds.items()}
    outcome.tables[f"ResNet-18 at {size} px, batches of {batch}"] = [
        {"what": name, "images/s": rate[name], "clinfonce is faster": f"{rate[OURS] / rate[name]:.2f} x"}
        for name in runs
    ]
    fastest, fastest_alike = (max(names, key=lambda name: rate[name]) for names in (as_shipped, as_ours))
    outcome.goals += [
        Goal(f"{size} px: times as fast as {fastest}", times_as_fast(seconds, OURS, fastest), 2.5),
        Goal(
            f"{size} px, float32, channels-last: times as fast as {fastest_alike}",
            times_as_fast(seconds, OURS_EQUAL, fastest_alike),
            1.2,
        ),
        Goal(f"{size} px: share of a batch in place", times_as_fast(seconds, OURS, IN_PLACE), 0.95),
    ]


if __name__ == "__main__":
    typer.run(measure)
