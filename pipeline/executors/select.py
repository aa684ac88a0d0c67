"""Selection of the executor by an option or the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from pipeline.executors.base import Executor
from pipeline.executors.process_pool import ProcessPool
from pipeline.executors.workers import worker_count
from pipeline.runtime.errors import UserError, shown

EXECUTOR_VARIABLE = "CLINFONCE_EXECUTOR"


class ExecutorName(StrEnum):
    LOCAL = "local"
    RAY = "ray"


def engine_named_by_environment() -> ExecutorName:
    """Returns the executor that CLINFONCE_EXECUTOR names, by default `local`. Raises `UserError` for another
    name."""
    named = os.environ.get(EXECUTOR_VARIABLE, ExecutorName.LOCAL)
    try:
        return ExecutorName(named)
    except ValueError:
        raise UserError(f"{EXECUTOR_VARIABLE} must be one of local, ray, not {shown(named)}") from None


@contextmanager
def open_executor(
    name: ExecutorName, *, several_jobs: bool = True, on_gpus: bool = False
) -> Iterator[Executor]:
    """Yields an executor, which is closed when the block ends. A single job gets a single worker.

    `on_gpus`: each job takes a GPU of the cluster, if it has any. Raises `UserError` if the cluster can't be
    reached.
    """
    executor: Executor
    if name is ExecutorName.RAY:
        # Ray is an optional dependency, and slow to import.
        from pipeline.executors.ray_cluster import RayCluster

        executor = RayCluster(on_gpus=on_gpus)
    else:
        executor = ProcessPool(worker_count() if several_jobs else 1)
    try:
        yield executor
    finally:
        executor.close()
