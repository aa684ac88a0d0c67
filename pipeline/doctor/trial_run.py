"""A few real steps of a training or an evaluation, in a process whose memory is measured separately.

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
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.augment.normalize import Normalizer
from pipeline.config.params import Params
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.assignments import read_assignments
from pipeline.dataset.dataset import ImageDataset
from pipeline.dataset.pixels import PixelStore, load_pixels
from pipeline.encoders.registry import architecture_of, build_encoder
from pipeline.evaluation.features import BATCH, TrainedEncoder, features_of
from pipeline.evaluation.knn import knn_predict
from pipeline.evaluation.linear_probe import standardisation
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.console import echo
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import exit_on_user_error
from pipeline.storage.schema import CHOSEN, Layout
from pipeline.training.attribute_inputs import attributes_of
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.loaders.in_memory import InMemoryLoader
from pipeline.training.loaders.select import LOADER_VARIABLE, Loader, select_loader
from pipeline.training.malloc import limited_arenas
from pipeline.training.profile import Profile, profile, seconds_of
from pipeline.training.run import assigned_positions
from pipeline.training.setup import build_trainer

MADE_UP_IMAGES = 1000
"""Number of images of random pixels if nothing is ingested yet."""
SAMPLED_IMAGES, SAMPLED_BATCHES = 2048, 8
"""Minimum size of the sample, if there are as many images."""


@dataclass(frozen=True)
class Request:
    what: str
    """One of chosen, reference and evaluation."""
    params: dict[str, object]
    data: str
    """Folder that contains `images` and `clusters`."""
    loader: str | None
    """Loader of the training of all images; None: there are no images, and pixels are random."""
    seconds: float
    started: float
    """Time at which the process was started, by `time.time`."""
    classes: int = 10
    """Number of labels that an evaluation distinguishes; the labels themselves do not matter."""


@dataclass(frozen=True, kw_only=True)
class Trial(Profile):
    """Measurements on a sample; times in seconds, sizes in bytes."""

    image_bytes: int
    """Pixels of one image."""
    start: float = 0.0
    """Time until the first image is decoded: starting Python, loading torch, building the network."""
    decode: float = 0.0
    """Decoding of the sample, if its pixels are kept decoded."""
    features: float = 0.0
    """Computation of the sample's features, for the evaluation."""
    fit: float = 0.0
    """Fit of the evaluation's protocol on the sample's features."""
    neighbours: float = 0.0
    """Vote of the nearest neighbours, from the sample for the sample."""
    feature_dim: int = 0
    host_peak: int = 0
    device_peak: int = 0
    """0 on a CPU."""


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
    trainer = build_trainer(
        pretrain,
        loader,
        clustered,
        _attributes(request, pretrain, layout, loader.ids),
        _normalizer(layout, device),
        TrainingContext(request.what, params.seed, params.view_size, device),
    )
    start = time.time() - request.started - decoded
    return Trial(
        **asdict(profile(trainer, request.seconds)),
        image_bytes=image_bytes,
        start=start,
        decode=0.0 if request.loader == "streamed" else decoded,
        host_peak=_host_peak(),
        device_peak=_device_peak(device),
    )


def _sample(
    request: Request, params: Params, pretrain: PretrainParams, layout: Layout, device: torch.device
) -> tuple[Loader, Clustered, int]:
    """Returns a loader of the first images in shard order, their clusters, and the bytes of one image.

    The kind of loader is that for all images.
    """
    if request.loader is None:
        store = _made_up_pixels(params.ingest.image_size, params.seed, MADE_UP_IMAGES)
        clusters_N = torch.arange(len(store)) % math.isqrt(len(store))
        return InMemoryLoader(store, device), Clustered(clusters_N), store.canvas_NCHW[0].nbytes
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


MADE_UP_ATTRIBUTES = 32


def _attributes(request: Request, pretrain: PretrainParams, layout: Layout, ids: list[str]) -> Tensor | None:
    if request.loader is not None:
        return attributes_of(pretrain, ImageDataset(layout.images).train, ids)
    if TRAITS[pretrain.objective].learns_from != "attributes":
        return None
    generator = torch.Generator().manual_seed(0)
    count = len(pretrain.multi_head.columns) or MADE_UP_ATTRIBUTES
    return torch.randint(0, 2, (len(ids), count), generator=generator).to(torch.int8)


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
    pretrain = params.pretrain
    encoder = build_encoder(architecture_of(pretrain.encoder, pretrain.stem_stride, params.view_size))
    encoder = encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    trained = TrainedEncoder(encoder, params.view_size, _normalizer(layout, device))
    start = time.time() - request.started - decoded
    few = PixelStore(store.ids[:BATCH], store.canvas_NCHW[:BATCH], store.sizes_N2[:BATCH])
    features_of(trained, few, device)  # warms up
    features_ND = features_of(trained, store, device)
    features = seconds_of(lambda: features_of(trained, store, device), device)
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
        fit=seconds_of(fit, device),
        neighbours=seconds_of(vote, device),
        feature_dim=features_ND.shape[1],
        host_peak=_host_peak(),
        device_peak=_device_peak(device),
    )


def _made_up_pixels(side: int, seed: int, count: int) -> PixelStore:
    generator = torch.Generator().manual_seed(seed)
    canvas_NHWC = torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    sizes_N2 = torch.full((count, 2), side)
    return PixelStore([str(n) for n in range(count)], canvas_NHWC.permute(0, 3, 1, 2), sizes_N2)


def _made_up_classes(features_ND: Tensor, count: int) -> Tensor:
    """Returns classes (N,) that a linear layer can learn, so that a fit takes about as long as on labels."""
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


def _host_peak() -> int:
    try:
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(peak[1]) * 1024 if peak is not None else 0


def _device_peak(device: torch.device) -> int:
    return int(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else 0


def main() -> None:
    # If memory runs out, this process is killed first, and not one that is in use.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = Request(**json.load(sys.stdin))
    with exit_on_user_error():
        echo(json.dumps(asdict(run(request))))


if __name__ == "__main__":
    main()
