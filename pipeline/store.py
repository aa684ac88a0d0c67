"""Parquet -> pixels: how images are cut and decoded, and a whole split in one uint8 tensor."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.borders import open_parquet
from pipeline.shards import read_columns, shard_paths
from pipeline.stored_image import decoded, middle_of, sizes_after_cutting


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
    sizes_N2 = sizes_after_cutting(np.stack([heights_N, widths_N], axis=1))
    height, width = (int(side) for side in sizes_N2.max(axis=0)) if ids else (1, 1)
    return Outline(ids, sizes_N2, height, width)


def decode_middle(encoded: bytes, size_2: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The middle of an image, cut to `size_2` (height, width): (height, width, 3)."""
    return middle_of(decoded(encoded), size_2)


def load_pixels(images: Path, split: str, positions: Sequence[int] | None = None) -> PixelStore:
    """Decodes the images of `split`, all or those at `positions`, on a canvas that holds any of the split.

    Only `id`, `image`, `width` and `height` are read: labels never are.
    """
    outline = read_outline(images, split)
    row_N = np.arange(len(outline.ids)) if positions is None else np.asarray(positions, np.int64)
    canvas_NHWC = np.zeros((len(row_N), outline.height, outline.width, 3), np.uint8)
    sizes_N2 = outline.sizes_N2[row_N]

    def draw(position: int, encoded: bytes) -> None:
        height, width = sizes_N2[position]
        canvas_NHWC[position, :height, :width] = decode_middle(encoded, sizes_N2[position])

    # In the order of the shards, each row group is read once.
    order_N = row_N.argsort(kind="stable")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(draw, order_N, _encoded_images(images, split, row_N[order_N])):
            pass
    canvas_NCHW = torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2)
    return PixelStore([outline.ids[row] for row in row_N], canvas_NCHW, torch.from_numpy(sizes_N2))


def _encoded_images(images: Path, split: str, rows: NDArray[np.int64]) -> Iterator[bytes]:
    """Of `rows`, which rise."""
    start = 0
    for path in shard_paths(images, split):
        with open_parquet(path) as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                wanted = rows[slice(*np.searchsorted(rows, [start, stop]))] - start
                if len(wanted):
                    column = file.read_row_group(group, columns=["image"]).flatten().column("image.bytes")
                    yield from column.take(wanted).to_pylist()
                start = stop
