"""The number of processes or threads that share the work on this machine."""

import os

from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.resources import usable_cores, whole_number

WORKERS_VARIABLE = "CLINFONCE_WORKERS"
MOST_WORKERS = 1024


def worker_count() -> int:
    """Returns the number of cores that this process may use; the environment variable CLINFONCE_WORKERS
    overrides it. Raises `UserError` for an invalid value."""
    named = os.environ.get(WORKERS_VARIABLE)
    if named is None:
        return max(1, round(usable_cores()))
    workers = whole_number(named, 1, MOST_WORKERS)
    if workers is None:
        raise UserError(
            f"{WORKERS_VARIABLE}={shown(named)} must be a number of processes from 1 to {MOST_WORKERS}"
        )
    return workers
