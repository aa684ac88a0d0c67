"""Confines the process in which DVC reads a repository that strangers wrote.

Symptom: `clinfonce compare` of someone else's branch asks an address that stands in that branch, or never
ends. Cause: what its cache lacks DVC fetches, from a remote of .dvc/config, or from where a `.dvc` file says
that it was imported from; and of stages, variables, patterns and metrics a few lines stand for as many as
they like. Cure: the kernel limits this process's time and memory, and every way out of it is refused,
whichever library takes it.
"""

import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_MESSAGES = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset({"subprocess.Popen", "os.posix_spawn", "os.exec"})
_SHELL = "os.system"
_LOCAL_PROGRAMS = frozenset({"git"})
"""DVC starts Git to read the local repository. All others, such as `ssh`, or a program that a remote's
configuration names to supply a password, are refused."""


@dataclass(frozen=True)
class Limits:
    cpu_seconds: int
    """Of a core, in user and system mode: RLIMIT_CPU, which ends the process with SIGXCPU."""
    wall_seconds: int
    """For a process that waits: ITIMER_REAL, SIGALRM."""
    memory_bytes: int
    """RLIMIT_DATA: memory beyond it is not given. Linux alone keeps it."""


class NoWayOut(RuntimeError):
    """An attempt to reach another machine or start a program. No `OSError`, as libraries retry those."""


def limit(limits: Limits) -> None:
    """Sets the limits of this process, for good."""
    _lower(resource.RLIMIT_CORE, 0)  # of gigabytes
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
    _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    for number in (signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)


def wait_for_ever() -> None:
    """From here on this process may wait, as for an answer of its user."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _lower(what: int, most: int) -> None:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))


def confine() -> None:
    """From here on every attempt of this process to reach another machine raises `NoWayOut`.

    In all threads, since libraries connect in threads of their own. A library may raise its own error for it.
    """
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _LOOK_UPS:
        raise NoWayOut(f"no other machine is looked up, such as {arguments[0]!r}")
    if event in _MESSAGES:
        connection, address = arguments[0], arguments[-1]
        if address is not None and connection.family != getattr(socket, "AF_UNIX", None):
            raise NoWayOut(f"no other machine is reached, such as {address!r}")
    local = event in _PROGRAMS and os.path.basename(os.fsdecode(arguments[0])) in _LOCAL_PROGRAMS
    if event == _SHELL or (event in _PROGRAMS and not local):
        raise NoWayOut(f"no other program is started, such as {arguments[0]!r}")
