"""Loaders for data sets that fit in memory, of the device or of the host."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
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


class FromHost(ABC):
    """Loader of rows in host memory; a thread gathers the next batches and sends them to the device.

    Only batches in transfer are pinned: pinning all rows would needlessly take memory from the system.
    """

    def __init__(self, ids: list[str], title: str, device: torch.device) -> None:
        self.ids, self.title, self._device = ids, title, device

    @abstractmethod
    def rows_at(self, positions_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Returns the batch of these rows, in host memory.

        It is gathered by NumPy, since torch would start a second pool of OpenMP threads, which competes with
        that of training.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def shuffled(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        transfer = DeviceTransfer(self._device)

        def gather(positions_B: Tensor) -> Sent:
            return transfer.send(*self.rows_at(positions_B.numpy()))

        with closing(prefetched(gather, requested)) as sent:
            for batch in sent:
                yield transfer.receive(batch)


class HostLoader(FromHost):
    """Loader with all pixels in host memory."""

    def __init__(self, store: PixelStore, device: torch.device) -> None:
        title = f"{_megabytes(store)} of pixels in host memory, sent to the {device_name(device)}"
        super().__init__(store.ids, title, device)
        # With height before channels, as `load_pixels` lays them out, an image is contiguous in memory.
        self._canvas_NHWC = np.ascontiguousarray(store.canvas_NCHW.permute(0, 2, 3, 1).numpy())
        self._sizes_N2 = store.sizes_N2.numpy()

    def rows_at(self, positions_B: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        canvas_BHWC = torch.from_numpy(self._canvas_NHWC.take(positions_B, axis=0))
        return canvas_BHWC.permute(0, 3, 1, 2), torch.from_numpy(self._sizes_N2.take(positions_B, axis=0))


def _megabytes(store: PixelStore) -> str:
    return f"{store.canvas_NCHW.nbytes / 1e6:,.1f} MB"
