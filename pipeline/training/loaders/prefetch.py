"""Batches prepared in advance, and their transfer to the device."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Asked = TypeVar("Asked")
Made = TypeVar("Made")

Batch = tuple[Tensor, Tensor]
"""canvas_BCHW uint8 and sizes_B2 int64 (height, width): B images as `PixelStore` holds them."""

Batches = Generator[Batch, None, None]
"""Generator of batches. Close it unless it is exhausted: that ends its threads."""

AHEAD = 3
"""Number of batches prepared in advance."""


def prefetched(make: Callable[[Asked], Made], requests: Iterable[Asked]) -> Generator[Made, None, None]:
    """Yields `make` of each of `requests`, in order, from a thread that is at most `AHEAD` results ahead.

    Exceptions of `make` are raised here. The thread ends with the generator, when it is exhausted or closed.
    """
    pending: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix=make.__name__) as thread:
        try:
            for one in requests:
                pending.append(thread.submit(make, one))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True)
class Sent:
    """A batch on its way to the device."""

    batch: Batch
    arrived: torch.cuda.Event | None
    """None if the batch has already arrived."""


class DeviceTransfer:
    """Copies batches from host memory to `device`; on CUDA neither the sender nor the receiver waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, canvas_BCHW: Tensor, sizes_B2: Tensor) -> Sent:
        """Starts the copy; called in advance, from any thread."""
        if self._copies is None:
            return Sent((canvas_BCHW.to(self.device), sizes_B2.to(self.device)), None)
        # Only a copy from pinned memory is asynchronous to the thread and to the kernels of other streams.
        # The allocator of pinned memory does not reuse a block before its copy has ended.
        with torch.cuda.stream(self._copies):
            canvas, sizes = (
                values.pin_memory().to(self.device, non_blocking=True) for values in (canvas_BCHW, sizes_B2)
            )
            return Sent((canvas, sizes), self._copies.record_event())

    def receive(self, sent: Sent) -> Batch:
        """Returns the batch. The receiver's current stream waits for the copy; the host does not."""
        if sent.arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(sent.arrived)
            for values in sent.batch:
                # The memory belongs to the copying stream, which must not reuse it while this one computes.
                values.record_stream(stream)
        return sent.batch
