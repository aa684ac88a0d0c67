"""Real processes that are there at once; some of them train together, joined by gloo."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipeline.runtime.distributed import Ranks

STAGES = ["ingest", "cluster", "pretrain", "evaluate", "report"]

_context = multiprocessing.get_context("forkserver")
# A server that has imported all that is slow, once: it would take each process five seconds.
_context.set_forkserver_preload(
    [
        *(f"stages.{stage}" for stage in STAGES),
        # These stages import what they run when they know that they run it.
        *(f"pipeline.{room}.run" for room in ("clustering", "training", "evaluation")),
        "pipeline.inference.embed",
        "torch._dynamo",  # by the first step of every optimizer
    ]
)


def started(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process with this one's variables and folder that calls the function, which must be importable."""
    process = _context.Process(target=_call, args=(dict(os.environ), Path.cwd(), function, arguments))
    process.start()
    return process


def _call(
    environment: dict[str, str], folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    # Without this they would be those of the moment when the server was started.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    function(*arguments)


def in_ranks(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(ranks, *arguments)` in `count` processes; what each returned, in rank order.

    `function` must be importable; what it returns is passed on by torch.save.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meeting").unlink(missing_ok=True)
    processes = [started(_run, index, count, folder, function, arguments) for index in range(count)]
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * count
    return [torch.load(folder / f"result-{index}.pt", weights_only=False) for index in range(count)]


def _run(
    index: int, count: int, folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=index, world_size=count)
    try:
        torch.save(function(Ranks(index, count), *arguments), folder / f"result-{index}.pt")
    finally:
        dist.destroy_process_group()
