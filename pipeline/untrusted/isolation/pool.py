"""Calls that iterate over untrusted images, run by workers; an image that kills a worker is refused."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.untrusted.isolation.workers import Worker, WorkerDied

TRIES = 3
"""Maximum number of tries of a call whose worker dies between two images, which is the fault of neither."""


@dataclass(frozen=True)
class Call:
    """`function(items, *arguments)`, which visits `items` by `pipeline.untrusted.isolation.limits.limited`.

    `function` is found by its name in a module, which should import nothing that starts threads. It can be
    called again after it was interrupted at any point.
    """

    function: Callable[..., Any]
    items: Sequence[Any]
    arguments: tuple[Any, ...]
    refused: Callable[[Any, str], Any]
    """Returns the replacement of an item that kills its process, given the item and the reason."""

    def without(self, number: int, reason: str) -> "Call":
        items = list(self.items)
        items[number] = self.refused(items[number], reason)
        return Call(self.function, items, self.arguments, self.refused)


class Pool:
    """At most `workers` processes, each started when it is needed and kept until the pool is closed."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="isolated")
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    def submit(self, call: Call) -> "Future[Any]":
        """Returns the future result of the call. The future raises what the call raised, and `WorkerDied` if
        none of the items is to blame."""
        return self._threads.submit(self._run, call)

    def close(self) -> None:
        """Drops calls that have not begun, and kills those that are running."""
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._idle:
            worker.close()
        self._idle.clear()

    def _run(self, call: Call) -> Any:
        suspect, tries = None, 0
        while True:
            try:
                return self._once(call)
            except WorkerDied as died:
                tries += died.number is None
                if self._closed or tries == TRIES:
                    raise
                if died.number is None:
                    continue
                if died.is_certain or died.number == suspect:
                    call, suspect = call.without(died.number, died.reason), None
                else:
                    suspect = died.number

    def _once(self, call: Call) -> Any:
        worker = self._taken(call.function.__module__)
        died = False
        try:
            return worker.call(call.function, call.items, *call.arguments)
        except WorkerDied:
            died = True
            raise
        finally:
            with self._lock:
                self._busy.remove(worker)
                if died or self._closed:
                    worker.close()
                else:
                    self._idle.append(worker)

    def _taken(self, module: str) -> Worker:
        with self._lock:
            if self._closed:
                raise WorkerDied(None, 0)
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = Worker(module)
        with self._lock:
            self._busy.add(worker)
            if self._closed:
                worker.kill()
        return worker
