"""Selection of the loader: from the device's memory, the host's, or the shards."""

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.resources import available_memory
from pipeline.training.loaders.in_memory import HostLoader, InMemoryLoader
from pipeline.training.loaders.prefetch import Batches
from pipeline.training.loaders.sharded import ShardedLoader, home_share
from pipeline.training.loaders.streamed import StreamedLoader

LOADER_VARIABLE = "CLINFONCE_LOADER"
KINDS = ("resident", "sharded", "host", "streamed")
"""Kinds of loaders, from the fastest to the one that needs the least memory."""


class Loader(Protocol):
    """Loads images by their position, 0 to `len(loader) - 1`."""

    ids: list[str]
    title: str
    """Where the pixels are, as a phrase for the log."""

    def __len__(self) -> int: ...

    def shuffled(self, generator: Generator) -> Tensor:
        """Returns an epoch's order, (N,) int64 on the CPU: a permutation that `batches` loads efficiently."""
        ...

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        """Yields, for each tensor of positions, (B,) int64 on the CPU, the images there, on the device.

        Each item is canvas_BCHW uint8 and sizes_B2 int64, or, of `FrozenFeatures`, features_BVD float16 and
        no sizes. Positions may repeat, within a batch and between batches.
        """
        ...


def select_loader(
    split: ImageSplit,
    positions: Sequence[int] | None,
    device: torch.device,
    *,
    ranks: Ranks = ALONE,
    host_memory_bytes: int | None = None,
    device_memory_bytes: int | None = None,
) -> Loader:
    """Returns the fastest loader that fits into half of the free memory, for the images of `split`.

    It loads all of them, or those at `positions`. Pixels stay on the device if they fit there, are shared out
    among the devices if they fit on all together, else stay in host memory, else are streamed; they pass
    through host memory on their way to the device. CLINFONCE_LOADER in the environment overrides the choice;
    a wrong value raises `UserError`. Memory, in bytes, defaults to that of the machine. All `ranks` make the
    same choice.
    """
    shape = split.shape
    rows = range(len(shape.ids)) if positions is None else positions
    pixel_bytes = len(rows) * shape.image_bytes
    match loader_kind(pixel_bytes, device, ranks, host_memory_bytes, device_memory_bytes):
        case "streamed":
            return StreamedLoader(split, positions, device)
        case "sharded":
            own = home_share(len(rows), ranks)
            home = load_pixels(split, rows[own.start : own.stop])
            ids, sizes_N2 = [shape.ids[row] for row in rows], shape.sizes_N2[np.asarray(rows)]
            return ShardedLoader(ids, torch.from_numpy(sizes_N2), home, device, ranks)
        case "host":
            return HostLoader(load_pixels(split, rows), device)
        case _:
            return InMemoryLoader(load_pixels(split, rows), device)


def loader_kind(
    pixel_bytes: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    host_memory_bytes: int | None = None,
    device_memory_bytes: int | None = None,
) -> str:
    """Returns the one of `KINDS` that `select_loader` selects for images of so many bytes."""
    named = _named_kind()
    if named is not None:
        return named
    fitting = _fitting_kind(pixel_bytes, device, ranks, host_memory_bytes, device_memory_bytes)
    return KINDS[ranks.all_reduce_max(KINDS.index(fitting))]


def _named_kind() -> str | None:
    named = os.environ.get(LOADER_VARIABLE)
    if named not in (None, *KINDS):
        raise UserError(f"{LOADER_VARIABLE} must be one of {', '.join(KINDS)}, not {shown(named)}")
    return named


def _fitting_kind(
    pixel_bytes: int,
    device: torch.device,
    ranks: Ranks,
    host_memory: int | None,
    device_memory: int | None,
) -> str:
    if host_memory is None:
        host_memory = available_memory() // ranks.local_world_size
    if device_memory is None:
        device_memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_memory
    in_both = min(host_memory, device_memory)
    if 2 * pixel_bytes <= in_both:
        return "resident"
    if ranks.world_size > 1 and 2 * pixel_bytes <= ranks.world_size * in_both:
        return "sharded"
    return "host" if 2 * pixel_bytes <= host_memory else "streamed"
