"""Features of the train images by weights that stay as they are, for `pretrain.freeze=all`.

The stage `start` computes them once, of the central view and of some random views of each image; the
trainings of all arms and seeds then read them in place of pixels. Shape letters: N images, V views, the first
of which is the central one, D features.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.normalize import Normalizer
from pipeline.augment.views import CentralCrop, central_views, random_views, views_at_once
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.encoders.registry import build_encoder
from pipeline.runtime.device import pick_device
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.progress import measured
from pipeline.runtime.resources import available_memory
from pipeline.runtime.seeding import derived_seed
from pipeline.storage.checksums import checksummed_writer
from pipeline.storage.files import write_atomically
from pipeline.storage.schema import Layout
from pipeline.storage.validation import check_parquet, damaged, open_parquet
from pipeline.training.loaders.in_memory import FromHost
from pipeline.training.loaders.select import select_loader
from pipeline.training.start import Start

BATCH = 256
ENCODER, VIEWS = b"encoder_sha256", b"views"
"""Keys of the schema's metadata: the hash of the weights, and V."""
PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""Options of Parquet for random bytes."""


@torch.inference_mode()
def write_frozen_features(start: Start, params: PretrainParams, layout: Layout) -> int:
    """Writes `layout.frozen_features` for all train images, by the encoder `start`; returns their number.

    The random views are drawn without the parameter `seed`, so that trainings with other seeds use the same
    file. Raises `UserError` for features beyond the range of float16.
    """
    config, device = start.config, pick_device()
    encoder = build_encoder(config.architecture)
    encoder.backbone.load_state_dict(start.tensors)
    encoder = encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    loader = select_loader(ImageDataset(layout.images).train, None, device)
    normalize = Normalizer(config.mean, config.std, device)
    crop, size = CentralCrop(config.interpolation, config.crop_pct), config.image_size

    def features_of(canvas: Tensor, sizes: Tensor, place: int) -> Tensor:
        """Returns (B, V, D) float16."""
        seeds = [derived_seed(0, "frozen features", place, view) for view in range(params.frozen_views)]
        views = [central_views(canvas, sizes, size, crop)]
        views += [random_views(canvas, sizes, size, params.augment, seed) for seed in seeds]
        return torch.stack([encoder(normalize(view)) for view in views], dim=1).half()

    width = (1 + params.frozen_views) * encoder.feature_dim * torch.float16.itemsize
    schema = pa.schema(
        [("id", pa.string()), ("features", pa.binary(width))],
        metadata={ENCODER: start.encoder_sha256, VIEWS: str(1 + params.frozen_views)},
    )

    def write(path: Path) -> None:
        places = torch.arange(len(loader)).split(views_at_once(size, BATCH))
        with (
            checksummed_writer(path, schema, **PLAIN) as writer,
            measured("frozen features", len(loader)) as advance,
        ):
            for places_B, (canvas, sizes) in zip(places, loader.batches(places), strict=True):
                features_BVD = features_of(canvas, sizes, int(places_B[0])).cpu()
                if not features_BVD.isfinite().all():
                    raise UserError(
                        f"pretrain.freeze=all: pretrain.weights={shown(params.weights)} gives "
                        "features that are not finite or above 65,504, the largest number of float16: "
                        "freeze a share of the stages in place of all"
                    )
                writer.write_table(_table(loader.ids, places_B, features_BVD).cast(schema))
                advance(len(places_B))

    write_atomically(layout.frozen_features, write)
    return len(loader)


def _table(ids: list[str], places_B: Tensor, features_BVD: Tensor) -> pa.Table:
    rows_BW = features_BVD.flatten(1).numpy()
    kind = pa.binary(rows_BW.shape[1] * rows_BW.itemsize)
    features = pa.FixedSizeBinaryArray.from_buffers(kind, len(rows_BW), [None, pa.py_buffer(rows_BW)])
    return pa.table({"id": [ids[place] for place in places_B.tolist()], "features": features})


class FrozenFeatures(FromHost):
    """A loader that yields features (B, V, D) float16 in place of pixels; they stay in host memory."""

    def __init__(
        self,
        start: Start,
        train: ImageSplit,
        positions: Sequence[int] | None,
        layout: Layout,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """Loads the features of all images of `train`, or of those at `positions`.

        Raises `UserError` if they are missing, damaged, or of other weights or images, or if memory does not
        hold them once for each process of this machine.
        """
        ids = train.ids.to_pylist()
        rows = range(len(ids)) if positions is None else positions
        free = available_memory() // ranks.local_world_size
        self._features_NVD = _read(layout.frozen_features, start, ids, rows, free)
        self.feature_dim = self._features_NVD.shape[2]
        title = f"{self._features_NVD.nbytes / 1e6:,.1f} MB of features in host memory"
        super().__init__([ids[row] for row in rows], title, device)

    def rows_at(self, positions_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Returns the features; the sizes of images, which no view needs, are empty."""
        return torch.from_numpy(self._features_NVD.take(positions_B, axis=0)), torch.empty(
            len(positions_B), 0
        )


def _read(path: Path, start: Start, ids: list[str], rows: Sequence[int], free: int) -> NDArray[np.float16]:
    """Returns the features (N, V, D) in the given rows of the file, which must be those of the images
    `ids`."""
    check_parquet(path)
    with open_parquet(path) as file:
        about = file.schema_arrow.metadata or {}
        if about.get(ENCODER) != start.encoder_sha256.encode():
            raise damaged(path, "it holds features of other weights")
        numbers = file.schema_arrow.field("features").type.byte_width // 2
        if (needed := 2 * len(rows) * numbers) > free:
            raise UserError(
                f"{path} takes {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free: "
                "lower pretrain.frozen_views"
            )
        place_of = np.full(len(ids), -1)
        place_of[list(rows)] = np.arange(len(rows))
        features_NW = np.empty((len(rows), numbers), np.float16)
        above = 0
        for batch in file.iter_batches(BATCH):
            if batch.column("id").to_pylist() != ids[above : above + len(batch)]:
                raise damaged(path, "it holds features of other images")
            cells = batch.column("features")
            of_batch_BW = np.frombuffer(
                cells.buffers()[1], np.float16, len(batch) * numbers, 2 * numbers * cells.offset
            ).reshape(len(batch), numbers)
            places_B = place_of[above : above + len(batch)]
            features_NW[places_B[places_B >= 0]] = of_batch_BW[places_B >= 0]
            above += len(batch)
        if above < len(ids):
            raise damaged(path, "it holds features of other images")
    return features_NW.reshape(len(rows), int(about[VIEWS]), -1)
