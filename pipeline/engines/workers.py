"""How many processes, or threads, share the work on this machine."""

import os

from pipeline.errors import UserError
from pipeline.machine import usable_cores

WORKERS_VARIABLE = "CLINFONCE_WORKERS"


def worker_count() -> int:
    """The cores that this process may use; the environment variable CLINFONCE_WORKERS overrides."""
    named = os.environ.get(WORKERS_VARIABLE)
    if named is None:
        return max(1, round(usable_cores()))
    if not named.isdecimal() or int(named) < 1:
        raise UserError(f"{WORKERS_VARIABLE}={named} must be a number of processes: set it to 1 or more")
    return int(named)
