"""Which engine: by an option, or by the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from pipeline.engines.base import Engine
from pipeline.engines.processes import Processes
from pipeline.engines.workers import worker_count
from pipeline.errors import UserError, shown

ENGINE_VARIABLE = "CLINFONCE_ENGINE"


class EngineName(StrEnum):
    LOCAL = "local"
    RAY = "ray"


def engine_named_by_environment() -> EngineName:
    """Of CLINFONCE_ENGINE; without it, `local`. Raises `UserError` for another name."""
    named = os.environ.get(ENGINE_VARIABLE, EngineName.LOCAL)
    try:
        return EngineName(named)
    except ValueError:
        raise UserError(f"{ENGINE_VARIABLE}={shown(named)} names no engine: set it to local or ray") from None


@contextmanager
def opened_engine(name: EngineName, *, several_jobs: bool = True, on_gpus: bool = False) -> Iterator[Engine]:
    """The engine until the block ends. A single job needs a single worker.

    `on_gpus`: each job takes a GPU of the cluster, if it has any. Raises `UserError` where a cluster can't be
    reached.
    """
    engine: Engine
    if name is EngineName.RAY:
        # Ray is an extra, and slow to import.
        from pipeline.engines.on_ray import OnRay

        engine = OnRay(on_gpus=on_gpus)
    else:
        engine = Processes(worker_count() if several_jobs else 1)
    try:
        yield engine
    finally:
        engine.close()
