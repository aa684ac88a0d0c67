"""How train images reach the training step: from the device's memory, the host's, or the shards."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Generator, Tensor

from pipeline.errors import UserError
from pipeline.store import load_pixels, read_outline
from pipeline.training.feeds.ahead import Batches
from pipeline.training.feeds.memory import HostFeed, ResidentFeed
from pipeline.training.feeds.streamed import StreamedFeed

FEED_VARIABLE = "CLINFONCE_FEED"
KINDS = ("resident", "host", "streamed")


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
    host_memory_bytes: int | None = None,
    device_memory_bytes: int | None = None,
) -> Feed:
    """The fastest feed that half of the free memory holds, for all images of `split` or those at `positions`.

    Pixels stay on the device where they fit, else in host memory, else they are streamed; they pass through
    host memory on their way to the device. The environment variable CLINFONCE_FEED overrides the choice;
    a wrong value raises `UserError`. Memory is asked of the machine where it is not given, in bytes.
    """
    outline = read_outline(images, split)
    pixel_bytes = len(outline.ids) * outline.image_bytes
    kind = _named_kind() or _fitting_kind(pixel_bytes, device, host_memory_bytes, device_memory_bytes)
    if kind == "streamed":
        return StreamedFeed(images, split, positions, device)
    store = load_pixels(images, split)
    if positions is not None:
        store = store.select(list(positions))
    return HostFeed(store, device) if kind == "host" else ResidentFeed(store, device)


def available_host_memory() -> int:
    """Bytes that can be taken without swapping; where the system does not tell, all that there are."""
    try:
        # Unlike sysconf's free pages this counts the file cache, which gives way.
        told = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        told = None
    if told is not None:
        return int(told[1]) * 1024
    return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def _named_kind() -> str | None:
    named = os.environ.get(FEED_VARIABLE)
    if named not in (None, *KINDS):
        raise UserError(f"{FEED_VARIABLE}={named} is no feed: use {', '.join(KINDS)}")
    return named


def _fitting_kind(
    pixel_bytes: int, device: torch.device, host_memory: int | None, device_memory: int | None
) -> str:
    if host_memory is None:
        host_memory = available_host_memory()
    if device_memory is None:
        device_memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_memory
    if 2 * pixel_bytes > host_memory:
        return "streamed"
    return "resident" if 2 * pixel_bytes <= device_memory else "host"
