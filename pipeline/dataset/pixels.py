"""Parquet -> pixels: decodes and crops images, or a whole split into one uint8 tensor."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.decode import center_crop, decoded
from pipeline.storage.validation import open_parquet


@dataclass(frozen=True)
class PixelStore:
    """Images of a split in memory; smaller ones are at the top left of their canvas."""

    ids: list[str]
    canvas_NCHW: Tensor
    """uint8, C = 3."""
    sizes_N2: Tensor
    """int64, height and width of each image."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "PixelStore":
        return PixelStore(self.ids, self.canvas_NCHW.to(device), self.sizes_N2.to(device))


def decode_center(encoded: bytes, size_2: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Decodes an image and cuts out its middle of `size_2` (height, width): (height, width, 3)."""
    return center_crop(decoded(encoded), size_2)


def load_pixels(split: ImageSplit, positions: Sequence[int] | None = None) -> PixelStore:
    """Decodes the images of `split`, all or those at `positions`, on a canvas that fits the whole split.

    Reads only `id`, `image`, `width` and `height`, never labels.
    """
    shape = split.shape
    row_N = np.arange(len(shape.ids)) if positions is None else np.asarray(positions, np.int64)
    canvas_NHWC = np.zeros((len(row_N), shape.height, shape.width, 3), np.uint8)
    sizes_N2 = shape.sizes_N2[row_N]

    def draw(position: int, encoded: bytes) -> None:
        height, width = sizes_N2[position]
        canvas_NHWC[position, :height, :width] = decode_center(encoded, sizes_N2[position])

    # In the order of the shards, so that each row group is read once.
    order_N = row_N.argsort(kind="stable")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(draw, order_N, _encoded_images(split, row_N[order_N])):
            pass
    canvas_NCHW = torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2)
    return PixelStore([shape.ids[row] for row in row_N], canvas_NCHW, torch.from_numpy(sizes_N2))


def _encoded_images(split: ImageSplit, rows: NDArray[np.int64]) -> Iterator[bytes]:
    """Yields the encoded images at the ascending `rows`."""
    start = 0
    for path in split.shards:
        with open_parquet(path) as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                requested = rows[slice(*np.searchsorted(rows, [start, stop]))] - start
                if len(requested):
                    column = file.read_row_group(group, columns=["image"]).flatten().column("image.bytes")
                    yield from column.take(requested).to_pylist()
                start = stop
