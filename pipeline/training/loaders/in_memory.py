"""Loaders for data sets that fit in memory, of the device or of the host."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import torch
from torch import Generator, Tensor

from pipeline.dataset.pixels import PixelStore
from pipeline.runtime.device import device_name
from pipeline.training.loaders.prefetch import Batches, DeviceTransfer, Sent, prefetched


class InMemoryLoader:
    """Loader with all pixels on the device; a batch is an index."""

    def __init__(self, store: PixelStore, device: torch.device) -> None:
        self.ids = store.ids
        self.title = f"{_megabytes(store)} of pixels resident on the {device_name(device)}"
        self._store = store.to(device)

    def __len__(self) -> int:
        return len(self.ids)

    def shuffled(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        canvas_NCHW, sizes_N2 = self._store.canvas_NCHW, self._store.sizes_N2
        # One copy for all batches: a copy in each step would make the host wait for the device.
        positions = torch.cat([torch.empty(0, dtype=torch.int64), *requested]).to(canvas_NCHW.device)
        for positions_B in positions.split([len(positions_B) for positions_B in requested]):
            yield canvas_NCHW[positions_B], sizes_N2[positions_B]


class HostLoader:
    """Loader with all pixels in host memory; a thread gathers the next batches and sends them to the device.

    Only batches in transfer are pinned: pinning all pixels would needlessly take memory from the system.
    """

    def __init__(self, store: PixelStore, device: torch.device) -> None:
        self.ids = store.ids
        self.title = f"{_megabytes(store)} of pixels in host memory, sent to the {device_name(device)}"
        self._device = device
        # With height before channels, as `load_pixels` lays them out, an image is contiguous in memory.
        self._canvas_NHWC = np.ascontiguousarray(store.canvas_NCHW.permute(0, 2, 3, 1).numpy())
        self._sizes_N2 = store.sizes_N2.numpy()

    def __len__(self) -> int:
        return len(self.ids)

    def shuffled(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        transfer = DeviceTransfer(self._device)

        def gather(positions_B: Tensor) -> Sent:
            # NumPy, since torch would start a second pool of OpenMP threads, which competes with that of
            # training.
            canvas_BHWC, sizes_B2 = (
                torch.from_numpy(values.take(positions_B.numpy(), axis=0))
                for values in (self._canvas_NHWC, self._sizes_N2)
            )
            return transfer.send(canvas_BHWC.permute(0, 3, 1, 2), sizes_B2)

        with closing(prefetched(gather, requested)) as sent:
            for batch in sent:
                yield transfer.receive(batch)


def _megabytes(store: PixelStore) -> str:
    return f"{store.canvas_NCHW.nbytes / 1e6:,.1f} MB"
