"""One call, one table: what a GPU does with the whole loop. Runs on a CPU too, at toy size.

uv run --group bench python -m benchmarks.gpu
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import typer
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import HEAD_DIM, TEMPERATURE, Ours, Setting, decoded, encoded_images, lightlys
from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns
from pipeline.augment import random_views
from pipeline.devices import compute_dtype, pick_device
from pipeline.objectives.cl_infonce import cl_infonce_loss

OURS, IN_PLACE, AUGMENTATION, LOSS, LIGHTLY = "loop", "batch in place", "augmentation", "loss", "lightly"
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item")
GPU_SETTINGS = [("resnet50", 224, 256), ("resnet18", 64, 512), ("resnet18", 32, 1024)]
TOY_SETTINGS = [("resnet18", 32, 8)]


def measure(steps: int = 20, rounds: int = 3, workers: int = 16, as_json: JsonFlag = False) -> None:
    """Views a second, the share of a batch in place, augmentation's and the loss's share, host waits."""
    device = pick_device()
    real = device.type == "cuda"
    outcome = Outcome("gpu")
    for arch, size, batch in GPU_SETTINGS if real else TOY_SETTINGS:
        setting = Setting(arch, size, batch, device)
        _measure_one(setting, steps if real else 2, rounds, workers if real else 0, outcome)
    outcome.tell(as_json)


def _measure_one(setting: Setting, steps: int, rounds: int, workers: int, outcome: Outcome) -> None:
    size, batch, device = setting.size, setting.batch, setting.device
    name = f"{setting.arch} at {size}"
    dtype = compute_dtype("auto", device)
    encoded = encoded_images(4 * batch, 256 if size == 224 else size)
    ours = Ours(setting, decoded(encoded), dtype)
    peer = lightlys(setting, encoded, workers, dtype=dtype, channels_last=True)
    plan = ours.trainer.plan(0)
    canvas, sizes = next(ours.trainer.feed.batches(plan.wanted[:1]))
    both = torch.cat([canvas, canvas]), torch.cat([sizes, sizes])
    outputs = torch.randn(2 * batch, HEAD_DIM, device=device, requires_grad=True)
    clusters = torch.arange(batch, device=device).repeat(2)

    def augment() -> None:
        for step in range(steps):
            random_views(*both, size, ours.trainer.params.augment, step)

    def loss() -> None:
        for _ in range(steps):
            cl_infonce_loss(functional.normalize(outputs), clusters, TEMPERATURE).backward()

    runs: dict[str, Callable[[], object]] = {
        OURS: partial(ours.run, steps),
        IN_PLACE: partial(ours.run_in_place, steps),
        AUGMENTATION: augment,
        LOSS: loss,
        LIGHTLY: partial(peer.run, steps),
    }
    seconds = {what: median(times) for what, times in in_turns(runs, rounds).items()}
    views = 2 * batch * steps
    waits = host_waits(partial(ours.run_in_place, 3))
    outcome.tables[f"{name}, batches of {batch}"] = [
        {"what": what, "views/s": views / seconds[what], "share of a step": seconds[what] / seconds[OURS]}
        for what in runs
    ]
    outcome.goals += [
        Goal(f"{name}: share of a batch in place", seconds[IN_PLACE] / seconds[OURS], 0.95),
        Goal(
            f"{name}: augmentation's share of a step",
            seconds[AUGMENTATION] / seconds[OURS],
            0.05,
            at_least=False,
        ),
        Goal(f"{name}: the loss's share of a step", seconds[LOSS] / seconds[OURS], 0.01, at_least=False),
        Goal(f"{name}: host waits a step", waits / 3, 0, at_least=False),
    ]
    if setting.arch == "resnet50":
        outcome.goals.append(Goal(f"{name}: views/s", views / seconds[OURS], 3300))


def host_waits(run: Callable[[], object]) -> int:
    """How often the host waits for the device while `run` runs, by torch's profiler."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    run()
    with profile(activities=activities) as profiled:
        run()
    # The profiler itself waits once at its end.
    counts = {event.key: event.count for event in profiled.key_averages()}
    return sum(counts.get(wait, 0) for wait in WAITS) - int(torch.cuda.is_available())


if __name__ == "__main__":
    typer.run(measure)
