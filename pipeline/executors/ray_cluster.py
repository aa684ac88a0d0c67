"""A Ray cluster. Jobs read what they need from a file system that all nodes share; their files come back.

Ray's own tasks, and not Ray Data: the rows come from a source that is read once, in order and as far as there
is room, and each part is a file that an interrupted run finds again. Ray does a job again whose node dies.
"""

import logging
import os
import platform
import socket
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.executors.base import Job, WorkerKilled
from pipeline.executors.process_pool import call_of
from pipeline.runtime.errors import UserError, shown
from pipeline.storage.files import write_atomically
from pipeline.untrusted.isolation.pool import Pool
from pipeline.untrusted.isolation.workers import WorkerDied

# It would ask the network for a place to report to.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import NodeDiedError, RayError, RayTaskError, WorkerCrashedError
except ModuleNotFoundError as missing:
    raise UserError("--executor ray needs Ray: `uv sync --extra ray`, on each node") from missing

ADDRESS_VARIABLE = "RAY_ADDRESS"
CONNECT_SECONDS = 10
HTTP2_SETTINGS = b"\4"
"""A frame's type, after three bytes of its length; both sides' first frame (RFC 9113, 3.4)."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + b"\0" * 5
AHEAD = 2
"""Jobs a processor that have begun, or wait for it."""
NODES_THAT_MAY_DIE = 8
"""Under one job, or workers of theirs, before it is given up."""
PACKAGES = ("numpy", "pillow", "pyarrow", "torch", "torchvision")
"""Beside this one, what decides the bytes that a job writes."""


class RayCluster:
    def __init__(self, *, on_gpus: bool = False) -> None:
        _connect()
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0)) if on_gpus else 0
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self.ahead = AHEAD * max(1, gpus or int(resources.get("CPU", 1)))
        self._remote = ray.remote(_made)
        # Kept once a node, not sent with each job.
        self._here = ray.put(Here(os.getcwd(), versions()))

    def submit(self, job: Job) -> "_Pending":
        remote = self._remote.options(max_retries=NODES_THAT_MAY_DIE, **self._needs)
        return _Pending(job, remote.remote(self._here, job))

    def close(self) -> None:
        ray.shutdown()


class _Pending:
    def __init__(self, job: Job, reference: Any) -> None:
        self._job, self._reference = job, reference

    def wait(self) -> None:
        try:
            content = ray.get(self._reference)
        except (NodeDiedError, WorkerCrashedError):
            raise WorkerKilled from None
        except RayTaskError as error:
            if isinstance(error.cause, WorkerDied):
                raise WorkerKilled from None
            if isinstance(error.cause, UserError):
                raise error.cause from None
            # It may be a fault of the node's machine, which is told by its cause.
            raise error from error.cause
        write_atomically(self._job.path, lambda temporary: temporary.write_bytes(content))


def _connect() -> None:
    address = os.environ.get(ADDRESS_VARIABLE, "auto")
    try:
        _knock_at(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RayError, ValueError, RuntimeError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise UserError(
            f"no Ray cluster answers at {ADDRESS_VARIABLE}={shown(address)} ({shown(why)}): start one with "
            f"`uv run ray start --head`, or set {ADDRESS_VARIABLE}; with RAY_AUTH_MODE=token all need the "
            "same token"
        ) from None


def _knock_at(address: str) -> None:
    """Raises `OSError` where nothing listens, or something that does not speak HTTP/2 as Ray's servers do:
    Ray itself would ask again for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as server:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        server.sendall(HTTP2_PREFACE)
        with server.makefile("rb") as answer:
            if answer.read(4)[3:] != HTTP2_SETTINGS:
                raise OSError("something else listens there")


# --- on a node ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Here:
    """Where, and with which packages, the jobs were given out."""

    folder: str
    versions: dict[str, str]


def _made(here: Here, job: Job) -> bytes:
    """The content of the file that the job makes; one that decodes strangers' images by a process beside."""
    check_node(here, ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        job = replace(job, path=Path(folder) / f"made{job.path.suffix}")
        if job.refused is None:
            job.make(*job.arguments, job.path)
        else:
            _pool().submit(call_of(job)).result()
        return job.path.read_bytes()


@cache
def _pool() -> Pool:
    """Of this worker of Ray's, and ends with it."""
    return Pool(1)


def check_node(here: Here, node: str) -> None:
    """Enters the folder of the project. Raises `UserError` for a node that would not make the same bytes."""
    try:
        os.chdir(here.folder)
    except OSError:
        raise UserError(
            f"the Ray node {node} has no folder {here.folder}: nodes need the project and the images under "
            "the same path, on a file system that all share"
        ) from None
    found = versions()
    if differing := [name for name in here.versions if found[name] != here.versions[name]]:
        name = differing[0]
        raise UserError(
            f"the Ray node {node} has {name} {found[name]}, and this one {here.versions[name]}: run "
            "`uv sync` on all nodes with the same checkout, and start Ray there again"
        )


@cache
def versions() -> dict[str, str]:
    """Of all that decides the bytes of a file, in this process."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    ours = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    return {"Python": platform.python_version(), "clinfonce": ours} | {
        name: version(name) for name in PACKAGES
    }
