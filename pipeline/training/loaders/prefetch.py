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
"""Close it where it is left early: its threads end then."""

AHEAD = 3
"""Batches prepared in advance."""


def prefetched(make: Callable[[Asked], Made], requests: Iterable[Asked]) -> Generator[Made, None, None]:
    """`make` of each of `requests`, in order, by one thread that is at most `AHEAD` results ahead.

    What `make` raises is raised here. The thread ends with the generator: at its end, or when it is closed.
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
    """None: it is there."""


class DeviceTransfer:
    """Takes batches from host memory to `device`; on CUDA neither the sender nor the receiver waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, canvas_BCHW: Tensor, sizes_B2: Tensor) -> Sent:
        """Starts the copy; called ahead of use, in any thread."""
        if self._copies is None:
            return Sent((canvas_BCHW.to(self.device), sizes_B2.to(self.device)), None)
        # Only from pinned memory does a copy run beside the thread and the kernels of other streams. The
        # allocator of pinned memory gives a block to nobody else before its copy has ended.
        with torch.cuda.stream(self._copies):
            canvas, sizes = (
                values.pin_memory().to(self.device, non_blocking=True) for values in (canvas_BCHW, sizes_B2)
            )
            return Sent((canvas, sizes), self._copies.record_event())

    def receive(self, sent: Sent) -> Batch:
        """The batch, for the receiver's current stream, which waits for the copy in its place."""
        if sent.arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(sent.arrived)
            for values in sent.batch:
                # The memory belongs to the copying stream, which must not reuse it while this one computes.
                values.record_stream(stream)
        return sent.batch
