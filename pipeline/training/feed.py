"""How train images reach the training step: from the device's memory, the host's, or the shards."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from pipeline.errors import UserError, shown
from pipeline.machine import available_memory
from pipeline.ranks import ALONE, Ranks
from pipeline.store import load_pixels, read_outline
from pipeline.training.feeds.ahead import Batches
from pipeline.training.feeds.memory import HostFeed, ResidentFeed
from pipeline.training.feeds.sharded import ShardedFeed, home_share
from pipeline.training.feeds.streamed import StreamedFeed

FEED_VARIABLE = "CLINFONCE_FEED"
KINDS = ("resident", "sharded", "host", "streamed")
"""From the fastest to the one that asks for the least memory."""


class Feed(Protocol):
    """Images by their position, 0 to `len(feed) - 1`."""

    ids: list[str]
    title: str
    """Where the pixels are, as a phrase for the log."""

    def __len__(self) -> int: ...

    def shuffled(self, generator: Generator) -> Tensor:
        """An epoch's order, (N,) int64 on the CPU: a permutation that `batches` serves without waste."""
        ...

    def batches(self, wanted: Sequence[Tensor]) -> Batches:
        """For each tensor of positions, (B,) int64 on the CPU, in turn the images there, on the device.

        Yields canvas_BCHW uint8 and sizes_B2 int64. Positions may repeat, within a batch and among them.
        """
        ...


def choose_feed(
    images: Path,
    split: str,
    positions: Sequence[int] | None,
    device: torch.device,
    *,
    ranks: Ranks = ALONE,
    host_memory_bytes: int | None = None,
    device_memory_bytes: int | None = None,
) -> Feed:
    """The fastest feed that half of the free memory holds, for all images of `split` or those at `positions`.

    Pixels stay on the device where they fit, shared out among the devices where they fit on all together,
    else in host memory, else they are streamed; they pass through host memory on their way to the device.
    The environment variable CLINFONCE_FEED overrides the choice; a wrong value raises `UserError`. Memory is
    asked of the machine where it is not given, in bytes. All `ranks` make the same choice.
    """
    outline = read_outline(images, split)
    rows = range(len(outline.ids)) if positions is None else positions
    pixel_bytes = len(rows) * outline.image_bytes
    match feed_kind(pixel_bytes, device, ranks, host_memory_bytes, device_memory_bytes):
        case "streamed":
            return StreamedFeed(images, split, positions, device)
        case "sharded":
            own = home_share(len(rows), ranks)
            home = load_pixels(images, split, rows[own.start : own.stop])
            ids, sizes_N2 = [outline.ids[row] for row in rows], outline.sizes_N2[np.asarray(rows)]
            return ShardedFeed(ids, torch.from_numpy(sizes_N2), home, device, ranks)
        case "host":
            return HostFeed(load_pixels(images, split, rows), device)
        case _:
            return ResidentFeed(load_pixels(images, split, rows), device)


def feed_kind(
    pixel_bytes: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    host_memory_bytes: int | None = None,
    device_memory_bytes: int | None = None,
) -> str:
    """One of `KINDS`: what `choose_feed` takes for images of so many bytes."""
    named = _named_kind()
    if named is not None:
        return named
    fitting = _fitting_kind(pixel_bytes, device, ranks, host_memory_bytes, device_memory_bytes)
    return KINDS[ranks.highest(KINDS.index(fitting))]


def _named_kind() -> str | None:
    named = os.environ.get(FEED_VARIABLE)
    if named not in (None, *KINDS):
        raise UserError(f"{FEED_VARIABLE}={shown(named)} is no feed: use {', '.join(KINDS)}")
    return named


def _fitting_kind(
    pixel_bytes: int,
    device: torch.device,
    ranks: Ranks,
    host_memory: int | None,
    device_memory: int | None,
) -> str:
    if host_memory is None:
        host_memory = available_memory() // ranks.beside
    if device_memory is None:
        device_memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_memory
    in_both = min(host_memory, device_memory)
    if 2 * pixel_bytes <= in_both:
        return "resident"
    if ranks.count > 1 and 2 * pixel_bytes <= ranks.count * in_both:
        return "sharded"
    return "host" if 2 * pixel_bytes <= host_memory else "streamed"
