"""An executor on a Ray cluster. Jobs read from a file system that all nodes share; their files are sent back.

It uses Ray's own tasks, not Ray Data: the rows come from a source that is read once, in order and only as far
as there is room, and each part is a file that an interrupted run finds again. Ray repeats a job whose node
dies.
"""

import logging
import os
import platform
import re
import socket
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
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

# Otherwise Ray contacts the network to report its usage.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import NodeDiedError, RayError, RayTaskError, WorkerCrashedError
except ModuleNotFoundError as missing:
    raise UserError("--executor ray needs Ray: `uv sync --extra ray`, on each node") from missing

ADDRESS_VARIABLE = "RAY_ADDRESS"
AUTO = "auto"
"""Address of the cluster that this machine is a node of."""
ADDRESS = re.compile(r"(ray://)?([a-z0-9._-]+|\[[0-9a-f:.%]+\]):[0-9]{1,5}", re.ASCII | re.IGNORECASE)
CONNECT_SECONDS = 10
INIT_SECONDS = 60
HTTP2_SETTINGS = b"\4"
"""Type of the frame that both sides send first; it follows the three bytes of its length (RFC 9113, 3.4)."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + b"\0" * 5
AHEAD = 2
"""Number of running or waiting jobs per CPU or GPU."""
NODES_THAT_MAY_DIE = 8
"""Maximum number of retries of a job whose node or worker process dies."""
PACKAGES = ("numpy", "pillow", "pyarrow", "torch", "torchvision")
"""Packages that, besides this one, determine the bytes that a job writes."""


class RayCluster:
    def __init__(self, *, on_gpus: bool = False) -> None:
        _connect()
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0)) if on_gpus else 0
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self.ahead = AHEAD * max(1, gpus or int(resources.get("CPU", 1)))
        self._remote = ray.remote(_made)
        # Stored once per node, not sent with each job.
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
            # It may be a fault of the node, which the cause shows.
            raise error from error.cause
        write_atomically(self._job.path, lambda temporary: temporary.write_bytes(content))


def _connect() -> None:
    address = _named_address()
    # Ray warns that it handles no signals when it is not started in the main thread.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        _knock_at(address)
        _within(INIT_SECONDS, lambda: ray.init(address, log_to_driver=False, logging_level=logging.ERROR))
    except (OSError, OverflowError, RayError, ValueError, RuntimeError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise UserError(
            f"no Ray cluster answers at {ADDRESS_VARIABLE}={shown(address)} ({shown(why)}): start one with "
            f"`uv run ray start --head`, or set {ADDRESS_VARIABLE}; with RAY_AUTH_MODE=token all need the "
            "same token"
        ) from None


def _named_address() -> str:
    """Returns the value of RAY_ADDRESS, by default `AUTO`.

    Raises `UserError` if it names no cluster: Ray accepts `local`, which starts one, and `name://`, which
    imports a module of that name.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "").strip() or AUTO
    if address != AUTO and not ADDRESS.fullmatch(address):
        raise UserError(
            f"{ADDRESS_VARIABLE}={shown(address)} names no Ray cluster: set it to host:port, such as "
            f"first-machine:6379, or to {AUTO}"
        )
    os.environ[ADDRESS_VARIABLE] = address  # Ray reads it, too
    return address


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Makes `call` in another thread; raises its exceptions, and `OSError` when the time is over.

    Symptom: an embedding waited for minutes for a server that speaks HTTP/2 but is not Ray's. Cause: Ray
    retries repeatedly, in code that no signal interrupts. Cure: a daemon thread waits for Ray, and ends with
    this process.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError as error:
        if done.done():
            raise
        raise OSError(f"no answer within {seconds:g} s") from error


def _knock_at(address: str) -> None:
    """Raises `OSError` if nothing listens at `address`, or a server that does not speak HTTP/2, as Ray's do:
    Ray itself would retry for minutes."""
    if address == AUTO:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
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
    """The folder and package versions of the process that submits the jobs."""

    folder: str
    versions: dict[str, str]


def _made(here: Here, job: Job) -> bytes:
    """Returns the content of the file that the job writes. A job that decodes untrusted images runs in a
    separate process."""
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
    """Returns the pool of this Ray worker, which ends with it."""
    return Pool(1)


def check_node(here: Here, node: str) -> None:
    """Changes to the folder of the project. Raises `UserError` for a node that lacks the folder, or would not
    write the same bytes."""
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
    """Returns the versions of all packages of this process that determine the bytes of a file."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    ours = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    return {"Python": platform.python_version(), "clinfonce": ours} | {
        name: version(name) for name in PACKAGES
    }
