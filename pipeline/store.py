"""Parquet -> pixels: how images are cut and decoded, and a whole split in one uint8 tensor."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline.shards import read_columns, shard_paths

MAX_ASPECT = 2
"""Images longer than this are cut to their middle, so that one panorama does not widen the whole tensor."""


@dataclass(frozen=True)
class PixelStore:
    """Images of a split, resident in memory; smaller ones lie at the top left of their canvas."""

    ids: list[str]
    canvas_NCHW: Tensor
    """uint8, C = 3."""
    sizes_N2: Tensor
    """int64, height and width of each image."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, positions: list[int]) -> "PixelStore":
        rows = torch.tensor(positions, dtype=torch.int64)
        ids = [self.ids[position] for position in positions]
        return PixelStore(ids, self.canvas_NCHW[rows], self.sizes_N2[rows])

    def to(self, device: torch.device) -> "PixelStore":
        return PixelStore(self.ids, self.canvas_NCHW.to(device), self.sizes_N2.to(device))


@dataclass(frozen=True)
class Outline:
    """What is known of a split's pixels before any is decoded."""

    ids: list[str]
    sizes_N2: NDArray[np.int64]
    """Height and width of each image, after cutting."""
    height: int
    width: int
    """Of the canvas that all images share."""

    @property
    def image_bytes(self) -> int:
        """Of one image's canvas."""
        return self.height * self.width * 3


def read_outline(images: Path, split: str) -> Outline:
    shape = read_columns(images, split, ["id", "width", "height"])
    ids = shape.column("id").to_pylist()
    heights_N, widths_N = (shape.column(name).to_numpy().astype(np.int64) for name in ("height", "width"))
    shorter_N = np.minimum(heights_N, widths_N)
    sizes_N2 = np.stack([np.minimum(side, MAX_ASPECT * shorter_N) for side in (heights_N, widths_N)], axis=1)
    height, width = (int(side) for side in sizes_N2.max(axis=0)) if ids else (1, 1)
    return Outline(ids, sizes_N2, height, width)


def decode_middle(encoded: bytes, size_2: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The middle of an image, cut to `size_2` (height, width): (height, width, 3)."""
    with Image.open(io.BytesIO(encoded)) as image:
        pixels_HWC = np.asarray(image)
    height, width = (int(side) for side in size_2)
    top, left = (pixels_HWC.shape[0] - height) // 2, (pixels_HWC.shape[1] - width) // 2
    return pixels_HWC[top : top + height, left : left + width]


def load_pixels(images: Path, split: str) -> PixelStore:
    """Decodes all images of `split`. Only `id`, `image`, `width` and `height` are read: labels never are."""
    outline = read_outline(images, split)
    count = len(outline.ids)
    canvas_NHWC = np.zeros((count, outline.height, outline.width, 3), np.uint8)

    def draw(position: int, encoded: bytes) -> None:
        height, width = outline.sizes_N2[position]
        canvas_NHWC[position, :height, :width] = decode_middle(encoded, outline.sizes_N2[position])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(draw, range(count), _encoded_images(images, split)):
            pass
    canvas_NCHW = torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2)
    return PixelStore(outline.ids, canvas_NCHW, torch.from_numpy(outline.sizes_N2))


def _encoded_images(images: Path, split: str) -> Iterator[bytes]:
    for path in shard_paths(images, split):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024, columns=["image"]):
            yield from batch.column("image").field("bytes").to_pylist()
