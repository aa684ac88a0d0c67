"""No other machine is reached while DVC reads what strangers wrote.

Symptom: `clinfonce compare` of someone else's branch asks an address that stands in that branch. Cause: what
its cache lacks DVC fetches, from a remote of .dvc/config, or from where a `.dvc` file says that it was
imported from. Cure: in `offline` every way out of this process is refused, whichever library takes it.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_MESSAGES = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset({"subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"})
_LOCAL_PROGRAMS = frozenset({"git"})
"""DVC asks Git of the repository here. All others, such as `ssh`, and what a remote's configuration names to
give a password, are refused."""


class NoWayOut(RuntimeError):
    """Something wanted to leave this machine. No `OSError`, which libraries take for a fault that passes."""


class _Depth:
    """Of the blocks that this process is in."""

    now = 0


@contextmanager
def offline() -> Iterator[None]:
    """Within the block whatever in this process wants to reach another machine is given a `NoWayOut`.

    In all threads, since libraries have one for their connections. Each of them raises what it makes of it.
    """
    _listen()
    _Depth.now += 1
    try:
        yield
    finally:
        _Depth.now -= 1


@cache
def _listen() -> None:
    """Once: Python has no way to take such a hook off again."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _Depth.now:
        return
    if event in _LOOK_UPS:
        raise NoWayOut(f"no other machine is asked, such as {arguments[0]!r}")
    if event in _MESSAGES:
        connection, address = arguments[0], arguments[-1]
        if address is not None and connection.family != getattr(socket, "AF_UNIX", None):
            raise NoWayOut(f"no other machine is reached, such as {address!r}")
    if event in _PROGRAMS and os.path.basename(os.fsdecode(_program(arguments[0]))) not in _LOCAL_PROGRAMS:
        raise NoWayOut(f"no other program is started, such as {_program(arguments[0])!r}")


def _program(named: Any) -> str | bytes:
    return named if isinstance(named, str | bytes) else os.fspath(named)
