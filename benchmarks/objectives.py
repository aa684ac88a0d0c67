"""Cost of a step of each objective compared with plain Cl-InfoNCE, in time and memory.

uv run --group bench python -m benchmarks.objectives
"""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from torch.nn import functional

from benchmarks.contenders import decoded, encoded_images
from benchmarks.harness import JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.augment.normalize import Normalizer
from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_encoder
from pipeline.objectives.base import DataInfo
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.device import pick_device
from pipeline.runtime.distributed import ALONE
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.loaders.in_memory import InMemoryLoader
from pipeline.training.malloc import limited_arenas
from pipeline.training.network import Network
from pipeline.training.trainer import Trainer
from pipeline.training.views import PixelViews

PLAIN = "cl_infonce"
CLUSTERS, ATTRIBUTES, ATTRIBUTE_VALUES = 100, 50, 2


def measure(
    images: int = 1024,
    batch: int = 128,
    steps: int = 4,
    rounds: int = 4,
    peak_of: Annotated[str | None, typer.Option(help="trains one alone and prints the peak memory")] = None,
    as_json: JsonFlag = False,
) -> None:
    """ResNet-18 with torchvision's stem at 32 pixels; all settings of the objectives are the defaults."""
    if peak_of is not None:
        run_steps(trainer_of(peak_of, images, batch), steps)
        print(_peak_megabytes())
        return
    trainers = {name: trainer_of(name, images, batch) for name in OBJECTIVES}
    runs: dict[str, Callable[[], object]] = {
        name: partial(run_steps, trainer, steps) for name, trainer in trainers.items()
    }
    seconds = in_turns(runs, rounds)
    own = {name: _megabytes_of(trainer.network) for name, trainer in trainers.items()}
    peaks = {name: _peak_in_a_process(name, images, batch, steps) for name in OBJECTIVES}
    outcome = Outcome("objectives")
    outcome.tables[f"ResNet-18 at 32 px, batches of {batch}"] = [
        {
            "objective": name,
            "ms a step": 1000 * median(seconds[name]) / steps,
            "times plain Cl-InfoNCE": f"{1 / times_as_fast(seconds, name, PLAIN):.2f}",
            "weights and buffers, MB": own[name],
            "peak memory, MB": peaks[name],
        }
        for name in OBJECTIVES
    ]
    outcome.tell(as_json)


def trainer_of(name: str, images: int, batch: int) -> Trainer:
    device = pick_device()
    kind = OBJECTIVES[name]
    params = PretrainParams.model_validate(
        {"objective": name, "batch_size": batch, "epochs": 100, "optimizer": "sgd", "learning_rate": 0.03}
    )
    generator = torch.Generator().manual_seed(0)
    attributes = torch.randint(0, ATTRIBUTE_VALUES, (images, ATTRIBUTES), generator=generator).to(torch.int8)
    encoder = build_encoder(Architecture("resnet18", 4, 32))
    known = DataInfo(CLUSTERS, ATTRIBUTES)
    trainer = Trainer(
        Network(encoder, kind.build(encoder.feature_dim, params, known)),
        InMemoryLoader(decoded(encoded_images(images, 32)), device),
        Clustered(torch.arange(images) % CLUSTERS),
        attributes if TRAITS[name].learns_from == "attributes" else None,
        PixelViews(32, params.augment, Normalizer([0.5] * 3, [0.25] * 3, device)),
        params,
        TrainingContext("chosen", 0, 32, device),
    )
    # Late in training, when queues and prototypes are in use; what an epoch prepares is computed once.
    trainer.progress.epoch = params.epochs // 2
    embeddings_ND = functional.normalize(
        torch.randn(images, params.projection_dim, generator=generator), dim=1
    )
    trainer.network.objective.begin_epoch(trainer.progress.epoch, lambda: embeddings_ND, ALONE, 0)
    trainer.network.train()
    return trainer


def run_steps(trainer: Trainer, steps: int) -> None:
    plan = trainer.plan(trainer.progress.epoch)
    with limited_arenas():
        for pixels, batch in zip(trainer.loader.batches(plan.requested[:steps]), plan.batches, strict=False):
            trainer.progress.step = 0
            trainer.train_step(pixels, batch)


def _megabytes_of(network: Network) -> float:
    held = [*network.parameters(), *network.buffers()]
    return sum(values.nbytes for values in held) / 1e6


def _peak_megabytes() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    # getrusage would include the parent's peak.
    output = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert output is not None, "Linux tells"
    return int(output[1]) * 1024 / 1e6


def _peak_in_a_process(name: str, images: int, batch: int, steps: int) -> float:
    numbers = ["--images", str(images), "--batch", str(batch), "--steps", str(steps)]
    command = [sys.executable, "-m", "benchmarks.objectives", "--peak-of", name, *numbers]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ended.stdout.splitlines()[-1])


if __name__ == "__main__":
    typer.run(measure)
