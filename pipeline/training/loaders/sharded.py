"""Loader for data sets that fit into the memory of all devices together, but not into that of one."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from pipeline.dataset.pixels import PixelStore
from pipeline.runtime.device import device_name
from pipeline.runtime.distributed import Ranks
from pipeline.training.loaders.prefetch import Batches

BYTES_AT_ONCE = 2**28
"""Bytes of images that a rank receives in one exchange, which covers as many steps as fit."""


def home_share(count: int, ranks: Ranks) -> range:
    """Returns the positions, among `count`, of the images that this rank keeps."""
    each = -(-count // ranks.world_size)
    return range(min(count, ranks.rank * each), min(count, (ranks.rank + 1) * each))


class ShardedLoader:
    """Keeps an equal share of the pixels on each rank, and exchanges the images of the next steps.

    Each rank therefore trains on different images in each epoch, and the order is that of the other in-memory
    loaders. `batches` is collective: every rank requests the same number, and takes them in step with the
    others.
    """

    def __init__(
        self,
        ids: list[str],
        sizes_N2: Tensor,
        home: PixelStore,
        device: torch.device,
        ranks: Ranks,
        *,
        bytes_at_once: int = BYTES_AT_ONCE,
    ) -> None:
        self.ids = ids
        self.title = (
            f"{home.canvas_NCHW.nbytes / 1e6:,.1f} MB of pixels, a share of 1/{ranks.world_size}, "
            f"resident on the {device_name(device)}"
        )
        self._sizes_N2 = sizes_N2.to(device)
        self._home_NCHW = home.canvas_NCHW.to(device)
        self._ranks, self._bytes_at_once = ranks, bytes_at_once
        self._first, self._each = home_share(len(ids), ranks).start, -(-len(ids) // ranks.world_size)

    def __len__(self) -> int:
        return len(self.ids)

    def shuffled(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        # All requests are known before the first step, so that the hosts need not synchronize again.
        by_rank: list[list[Tensor]] = self._ranks.all_gather_object(list(requested))
        most = max((len(positions_B) for requests in by_rank for positions_B in requests), default=0)
        image_bytes = self._home_NCHW.shape[1:].numel()
        at_once = max(1, self._bytes_at_once // max(1, most * image_bytes))
        for start in range(0, len(requested), at_once):
            yield from self._steps([requests[start : start + at_once] for requests in by_rank])

    def _steps(self, by_rank: list[list[Tensor]]) -> Batches:
        """Yields this rank's batches of a few steps, whose images all arrive in one exchange."""
        own = by_rank[self._ranks.rank]
        canvas_MCHW = self._all_to_all([torch.cat(requests) for requests in by_rank])
        sizes_M2 = self._sizes_N2[self._sent(torch.cat(own))]
        lengths = [len(positions_B) for positions_B in own]
        yield from zip(canvas_MCHW.split(lengths), sizes_M2.split(lengths), strict=True)

    def _all_to_all(self, positions: list[Tensor]) -> Tensor:
        """Returns the images at this rank's entry of `positions`; other ranks receive those at theirs."""
        own_M = positions[self._ranks.rank]
        homes_M = own_M // self._each
        leaving = [
            requests[requests // self._each == self._ranks.rank] - self._first for requests in positions
        ]
        arrived_MCHW = self._ranks.all_to_all(
            self._home_NCHW[self._sent(torch.cat(leaving))],
            sent=[len(rows) for rows in leaving],
            received=torch.bincount(homes_M, minlength=self._ranks.world_size).tolist(),
        )
        # Images arrive in the order of the ranks that keep them; this finds the place of each one.
        place_M = homes_M.argsort(stable=True).argsort(stable=True)
        return arrived_MCHW[self._sent(place_M)]

    def _sent(self, rows: Tensor) -> Tensor:
        """Returns `rows` on the device; on CUDA the host does not wait for the copy."""
        device = self._home_NCHW.device
        return rows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rows
