"""Real processes that train together, joined by gloo."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipeline.ranks import Ranks


def in_ranks(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(ranks, *arguments)` in `count` processes; what each returned, in rank order.

    `function` must be importable; what it returns is passed on by torch.save.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meeting").unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run, args=(index, count, folder, function, arguments))
        for index in range(count)
    ]
    for process in processes:
        process.start()
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
