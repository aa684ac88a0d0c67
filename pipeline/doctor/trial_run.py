"""A few real steps of a training or an evaluation, in a process of its own, so that its memory is its own.

`python -m pipeline.doctor.trial_run` reads a `Request` as JSON from standard input and prints a `Trial`. It
writes nothing, and reads only the images and attributes of the shards, never labels.
Shape letters: N images of the sample, D features.
"""

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pipeline.augment import Normalizer
from pipeline.config.params import Params
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.assignments import read_assignments
from pipeline.dataset.dataset import ImageDataset
from pipeline.dataset.pixels import PixelStore, load_pixels
from pipeline.encoders.registry import build_encoder, resolved_stem_stride
from pipeline.evaluation.features import BATCH, TrainedEncoder, features_of
from pipeline.evaluation.knn import knn_predict
from pipeline.evaluation.linear_probe import standardisation
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.objectives.traits import TRAITS, reads_clusters
from pipeline.runtime.console import echo
from pipeline.runtime.device import pick_device
from pipeline.runtime.distributed import ALONE
from pipeline.runtime.errors import exit_on_user_error
from pipeline.storage.schema import CHOSEN, Layout
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.loaders.in_memory import InMemoryLoader
from pipeline.training.loaders.select import LOADER_VARIABLE, Loader, select_loader
from pipeline.training.malloc import limited_arenas
from pipeline.training.recluster import recluster
from pipeline.training.run import assigned_positions
from pipeline.training.setup import attributes_of, build_trainer
from pipeline.training.trainer import Trainer

MADE_UP_IMAGES = 1000
"""Of random pixels, where nothing is ingested yet."""
SAMPLED_IMAGES, SAMPLED_BATCHES = 2048, 8
"""At least so many of the images are in the sample, as far as there are any."""
LEAST_STEPS, MOST_STEPS = 3, 200


@dataclass(frozen=True)
class Request:
    what: str
    """chosen, reference or evaluation."""
    params: dict[str, object]
    data: str
    """The folder that holds `images` and `clusters`."""
    loader: str | None
    """What the training of all images takes; None: there are no images, and pixels are random."""
    seconds: float
    started: float
    """When the process was started, by `time.time`."""
    classes: int = 10
    """Of the labels that an evaluation tells apart, of which it learns no more than their number."""


@dataclass(frozen=True)
class Trial:
    """What was measured; times in seconds, sizes in bytes. Those of the sample grow with the images."""

    images: int
    """Of the sample."""
    image_bytes: int
    """Of one image's pixels."""
    start: float = 0.0
    """Until the first image is decoded: starting Python, loading torch, building the network."""
    decode: float = 0.0
    """The sample, where its pixels are kept decoded."""
    batch: int = 0
    steps: list[float] = field(default_factory=list)
    """Each measured step, or the mean step of several in a row on a device that works ahead."""
    embed: float = 0.0
    """One forward pass of the sample."""
    begin_epoch: float = 0.0
    """What the objective does with the sample before an epoch."""
    recluster: float = 0.0
    """Remaking the sample's clusters."""
    features: float = 0.0
    """The sample's features, for the evaluation."""
    fit: float = 0.0
    """The evaluation's protocol on the sample's features."""
    neighbours: float = 0.0
    """The vote of the sample's neighbours over the sample."""
    feature_dim: int = 0
    host_peak: int = 0
    device_peak: int = 0
    """0 on a CPU."""
    state: int = 0
    """What a saved state holds: it is copied in host memory before it is written."""


def run(request: Request) -> Trial:
    params = Params.model_validate(request.params)
    device = pick_device()
    if request.what == "evaluation":
        return _evaluation(request, params, device)
    pretrain = params.pretrain if request.what == CHOSEN else params.pretrain.of_references()
    with limited_arenas():
        return _training(request, params, pretrain, device)


def _training(request: Request, params: Params, pretrain: PretrainParams, device: torch.device) -> Trial:
    layout = Layout(Path(request.data))
    decoding = time.perf_counter()
    loader, clustered, image_bytes = _sample(request, params, pretrain, layout, device)
    decoded = time.perf_counter() - decoding
    needs_attributes = TRAITS[pretrain.objective].learns_from == "attributes"
    trainer = build_trainer(
        pretrain,
        loader,
        clustered,
        _attributes(request, pretrain, layout, loader.ids) if needs_attributes else None,
        _normalizer(layout, device),
        TrainingContext(request.what, params.seed, params.ingest.image_size, device),
    )
    start = time.time() - request.started - decoded
    # The middle of a training, where queues and prototypes are in use.
    trainer.progress.epoch = pretrain.epochs // 2
    embed = _seconds_of(trainer.embeddings, device)
    begin_epoch = _seconds_of(
        lambda: trainer.network.objective.begin_epoch(
            trainer.progress.epoch, trainer.embeddings, ALONE, params.seed
        ),
        device,
    )
    steps = _steps(trainer, request.seconds, device)
    return Trial(
        images=len(loader),
        image_bytes=image_bytes,
        start=start,
        decode=0.0 if request.loader == "streamed" else decoded,
        batch=trainer.batch_size,
        steps=steps,
        embed=embed,
        begin_epoch=begin_epoch,
        recluster=_recluster(trainer, device),
        host_peak=_host_peak(),
        device_peak=_device_peak(device),
        state=_state_bytes(trainer),
    )


def _state_bytes(trainer: Trainer) -> int:
    kept = [value for values in trainer.optimizer.state.values() for value in values.values()]
    tensors = [*trainer.network.parameters(), *trainer.network.buffers(), *kept]
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


def _sample(
    request: Request, params: Params, pretrain: PretrainParams, layout: Layout, device: torch.device
) -> tuple[Loader, Clustered, int]:
    """Images in the order of the shards, in the kind of feed that holds all of them; an image's bytes."""
    if request.loader is None:
        store = _made_up_pixels(params.ingest.image_size, params.seed, MADE_UP_IMAGES)
        return InMemoryLoader(store, device), _made_up_clusters(len(store)), store.canvas_NCHW[0].nbytes
    train = ImageDataset(layout.images).train
    positions: list[int] | range = range(len(train))
    clusters_N, settings = torch.arange(len(train)), None
    if request.what == CHOSEN and layout.assignments(CHOSEN).exists():
        assignments = read_assignments(layout.assignments(CHOSEN))
        positions = assigned_positions(assignments, layout.assignments(CHOSEN), train) or positions
        clusters_N, settings = torch.tensor(assignments.clusters_N), assignments.recluster
    count = min(len(positions), max(SAMPLED_IMAGES, SAMPLED_BATCHES * pretrain.batch_size))
    os.environ[LOADER_VARIABLE] = request.loader
    loader = select_loader(train, positions[:count], device)
    return loader, Clustered(clusters_N[:count], settings), train.shape.image_bytes


def _attributes(request: Request, pretrain: PretrainParams, layout: Layout, ids: list[str]) -> Tensor:
    if request.loader is not None:
        return attributes_of(pretrain, ImageDataset(layout.images).train, ids)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 2, (len(ids), 50), generator=generator).to(torch.int8)


def _steps(trainer: Trainer, seconds: float, device: torch.device) -> list[float]:
    """Seconds of real training steps, after a pass that warms up."""
    trainer.network.train()
    # A GPU works behind the host's back: several steps are timed as one.
    in_a_row = SAMPLED_BATCHES if device.type == "cuda" else 1
    for _ in _pass(trainer, in_a_row, device, at_most=2 * in_a_row):
        pass
    measured: list[float] = []
    began = time.perf_counter()

    def enough() -> bool:
        over = time.perf_counter() - began >= seconds or len(measured) >= MOST_STEPS
        return over and len(measured) >= LEAST_STEPS

    while not enough():
        with closing(_pass(trainer, in_a_row, device)) as steps:
            for step in steps:
                measured.append(step)
                if enough():
                    break
    return measured


def _pass(
    trainer: Trainer, in_a_row: int, device: torch.device, at_most: int | None = None
) -> Generator[float, None, None]:
    """Seconds a step, over `in_a_row` steps at a time, of an epoch of the sample."""
    plan = trainer.plan(trainer.progress.epoch)
    trainer.progress.step, done = 0, 0
    requested = plan.requested[:at_most]
    started = time.perf_counter()
    with closing(trainer.loader.batches(requested)) as batches:
        for pixels, batch in zip(batches, plan.batches, strict=False):
            trainer.train_step(pixels, batch)
            done += 1
            if done == in_a_row or trainer.progress.step == len(requested):
                _wait(device)
                yield (time.perf_counter() - started) / done
                started, done = time.perf_counter(), 0


def _recluster(trainer: Trainer, device: torch.device) -> float:
    """0 where clusters are not remade."""
    settings, params = trainer.recluster_settings, trainer.params
    used = reads_clusters(params.objective, params.sampler)
    if settings is None or not used or params.recluster_every == 0:
        return 0.0
    # The sample may have fewer images than there are clusters; time grows with both.
    clusters = min(settings["clusters"], max(1, len(trainer.loader) // 2))
    before_N = torch.arange(len(trainer.loader)) % clusters

    def remake() -> None:
        recluster(trainer.embeddings(), before_N, settings | {"clusters": clusters}, 1, 0)

    times_as_many: float = settings["clusters"] / clusters
    return times_as_many * _seconds_of(remake, device)


def _evaluation(request: Request, params: Params, device: torch.device) -> Trial:
    layout = Layout(Path(request.data))
    decoding = time.perf_counter()
    if request.loader is None:
        store = _made_up_pixels(params.ingest.image_size, params.seed, MADE_UP_IMAGES)
        image_bytes = store.canvas_NCHW[0].nbytes
    else:
        train = ImageDataset(layout.images).train
        store = load_pixels(train, range(min(len(train), SAMPLED_IMAGES)))
        image_bytes = train.shape.image_bytes
    decoded = time.perf_counter() - decoding
    stride = resolved_stem_stride(
        params.pretrain.encoder, params.pretrain.stem_stride, params.ingest.image_size
    )
    encoder = build_encoder(params.pretrain.encoder, stride)
    encoder = encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    trained = TrainedEncoder(encoder, params.ingest.image_size, _normalizer(layout, device))
    start = time.time() - request.started - decoded
    few = PixelStore(store.ids[:BATCH], store.canvas_NCHW[:BATCH], store.sizes_N2[:BATCH])
    features_of(trained, few, device)  # warms up
    features_ND = features_of(trained, store, device)
    features = _seconds_of(lambda: features_of(trained, store, device), device)
    classes_N = _made_up_classes(features_ND, request.classes)

    def fit() -> None:
        PROTOCOLS[params.evaluate.protocol](
            features_ND, classes_N, request.classes, params.evaluate, params.seed
        )

    def vote() -> None:
        knn_predict(features_ND, classes_N, features_ND, request.classes, params.evaluate.neighbours)

    return Trial(
        images=len(store),
        image_bytes=image_bytes,
        start=start,
        decode=decoded,
        features=features,
        fit=_seconds_of(fit, device),
        neighbours=_seconds_of(vote, device),
        feature_dim=features_ND.shape[1],
        host_peak=_host_peak(),
        device_peak=_device_peak(device),
    )


def _made_up_pixels(side: int, seed: int, count: int) -> PixelStore:
    generator = torch.Generator().manual_seed(seed)
    canvas_NHWC = torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    sizes_N2 = torch.full((count, 2), side)
    return PixelStore([str(n) for n in range(count)], canvas_NHWC.permute(0, 3, 1, 2), sizes_N2)


def _made_up_clusters(images: int) -> Clustered:
    return Clustered(torch.arange(images) % max(1, math.isqrt(images)))


def _made_up_classes(features_ND: Tensor, count: int) -> Tensor:
    """Classes that a linear layer can learn, so that its fit takes about as long as on labels: (N,)."""
    generator = torch.Generator().manual_seed(0)
    mean_D, std_D = standardisation(features_ND)
    standard_ND = (features_ND - mean_D) / std_D
    weights_DC = torch.randn(features_ND.shape[1], count, generator=generator).to(features_ND.device)
    logits_NC = standard_ND @ weights_DC / math.sqrt(features_ND.shape[1])
    noise_NC = torch.randn(logits_NC.shape, generator=generator).to(features_ND.device)
    return (logits_NC + noise_NC).argmax(dim=1)


def _normalizer(layout: Layout, device: torch.device) -> Normalizer:
    if not layout.ingest_summary.exists():
        return Normalizer([0.5] * 3, [0.25] * 3, device)
    summary = ImageDataset(layout.images).summary
    return Normalizer(summary["mean"], summary["std"], device)


def _seconds_of(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _host_peak() -> int:
    try:
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(peak[1]) * 1024 if peak is not None else 0


def _device_peak(device: torch.device) -> int:
    return int(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else 0


def main() -> None:
    # Where memory ends this process goes, and none that works for somebody.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = Request(**json.load(sys.stdin))
    with exit_on_user_error():
        echo(json.dumps(asdict(run(request))))


if __name__ == "__main__":
    main()
