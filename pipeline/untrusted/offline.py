"""Keeps this process from the network while DVC reads files that strangers wrote.

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
"""DVC starts Git to read the local repository. All others, such as `ssh`, or a program that a remote's
configuration names to supply a password, are refused."""


class NoWayOut(RuntimeError):
    """An attempt to reach another machine or start a program. No `OSError`, as libraries retry those."""


class _Depth:
    """How many `offline` blocks this process is in."""

    now = 0


@contextmanager
def offline() -> Iterator[None]:
    """Within the block every attempt of this process to reach another machine raises `NoWayOut`.

    In all threads, since libraries connect in threads of their own. A library may raise its own error for it.
    """
    _add_audit_hook()
    _Depth.now += 1
    try:
        yield
    finally:
        _Depth.now -= 1


@cache
def _add_audit_hook() -> None:
    """Once, as Python cannot remove an audit hook."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _Depth.now:
        return
    if event in _LOOK_UPS:
        raise NoWayOut(f"no other machine is looked up, such as {arguments[0]!r}")
    if event in _MESSAGES:
        connection, address = arguments[0], arguments[-1]
        if address is not None and connection.family != getattr(socket, "AF_UNIX", None):
            raise NoWayOut(f"no other machine is reached, such as {address!r}")
    if event in _PROGRAMS and os.path.basename(os.fsdecode(_program(arguments[0]))) not in _LOCAL_PROGRAMS:
        raise NoWayOut(f"no other program is started, such as {_program(arguments[0])!r}")


def _program(named: Any) -> str | bytes:
    return named if isinstance(named, str | bytes) else os.fspath(named)
