"""Confines the process in which DVC reads a repository that strangers wrote.

Symptom: `clinfonce compare` of someone else's branch asks an address that stands in that branch, or never
ends. Cause: what its cache lacks DVC fetches, from a remote of .dvc/config, or from where a `.dvc` file says
that it was imported from; of stages, variables, patterns and metrics a few lines stand for as many as they
like; and DVC writes locks and notes, through whatever links the repository holds, and opens pipes and devices
as files. Cure: the kernel limits
this process's time and memory, and Python asks before each way out and each change, whichever library makes
it.
"""

import errno
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.runtime.errors import shown

_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_MESSAGES = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset({"subprocess.Popen", "os.posix_spawn", "os.exec"})
_SHELL = "os.system"
_LOCAL_PROGRAMS = frozenset({"git"})
"""DVC starts Git to read the local repository. All others, such as `ssh`, or a program that a remote's
configuration names to supply a password, are refused."""
_UNPICKLING = "pickle.find_class"
"""Of a pickle that names code: DVC keeps some below .dvc/tmp, which a repository may hold."""
_HARMLESS = frozenset({os.devnull, "/dev/urandom", "/dev/random"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES_CONTENT = frozenset(
    {"os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "sqlite3.connect"}
)
_CHANGES_NAMES = {
    "os.mkdir": [(0, 2)],
    "os.rmdir": [(0, 1)],
    "os.remove": [(0, 1)],
    "os.symlink": [(1, 2)],
    "os.rename": [(0, 2), (1, 3)],
    "os.link": [(0, 2), (1, 3)],
}
"""Where the arguments of the event hold a path, and the descriptor of the folder that it starts from."""


@dataclass(frozen=True)
class Limits:
    cpu_seconds: int
    """Of a core, in user and system mode: RLIMIT_CPU, which ends the process with SIGXCPU."""
    wall_seconds: int
    """For a process that waits: ITIMER_REAL, SIGALRM."""
    memory_bytes: int
    """RLIMIT_DATA: memory beyond it is not given. Linux alone keeps it."""


class NoWayOut(RuntimeError):
    """An attempt to reach another machine, or to run something. No `OSError`, as libraries retry those."""


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


class Confinement:
    """Of this process, once it is entered, for good and in all threads: no way out of the machine,
    nothing opened but files, and changes below `writable` alone."""

    def __init__(self, writable: Iterable[str]) -> None:
        """`writable`: folders whose paths hold no links."""
        self._writable = tuple(folder + os.sep for folder in writable)
        self.refused: list[str] = []
        """Sentences of what was neither opened nor changed: libraries go on as if it were not there."""

    def enter(self) -> None:
        sys.addaudithook(self._check)

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        _refuse_to_reach_out(event, arguments)
        if event == _UNPICKLING:
            raise NoWayOut(f"no pickle brings code, such as {arguments[-1]!r}")
        if event == "open" and _is_special(arguments[0]):
            self._refuse(
                f"{shown(os.fsdecode(arguments[0]))} is, or leads to, a pipe, socket or device: put a "
                "regular file in its place"
            )
        for path in _changed(event, arguments):
            if path != os.devnull and not path.startswith(self._writable):
                self._refuse(
                    f"DVC would change {shown(path)}, which is not below .dvc here: remove what leads there"
                )

    def _refuse(self, sentence: str) -> None:
        self.refused.append(sentence)
        raise PermissionError(errno.EPERM, sentence)


# --- ways out -----------------------------------------------------------------------------------------------


def _refuse_to_reach_out(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _LOOK_UPS:
        raise NoWayOut(f"no other machine is looked up, such as {arguments[0]!r}")
    if event in _MESSAGES:
        connection, address = arguments[0], arguments[-1]
        if address is not None and connection.family != getattr(socket, "AF_UNIX", None):
            raise NoWayOut(f"no other machine is reached, such as {address!r}")
    local = event in _PROGRAMS and os.path.basename(os.fsdecode(arguments[0])) in _LOCAL_PROGRAMS
    if event == _SHELL or (event in _PROGRAMS and not local):
        raise NoWayOut(f"no other program is started, such as {arguments[0]!r}")


# --- what is no file ----------------------------------------------------------------------------------------


def _is_special(path: Any) -> bool:
    """Whether an opening would wait for another program, or a reading never end."""
    if isinstance(path, int):
        return False
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # for the opening to say
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return False
    return os.path.realpath(os.fsdecode(path)) not in _HARMLESS


# --- changes ------------------------------------------------------------------------------------------------


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """The paths, without links, that the event changes or makes."""
    if event == "open":
        path, _, flags = arguments
        if flags & _WRITING and not isinstance(path, int):
            yield os.path.realpath(os.fsdecode(path))
    elif event in _CHANGES_CONTENT:
        if not isinstance(arguments[0], int) and arguments[0] != ":memory:":
            yield os.path.realpath(os.fsdecode(arguments[0]))
    elif event in _CHANGES_NAMES:
        for place, folder in _CHANGES_NAMES[event]:
            name = _in_folder(os.fsdecode(arguments[place]), arguments[folder])
            # What has the name may be a link, and is not followed.
            path = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
            if not (event == "os.mkdir" and os.path.isdir(path)):
                yield path


def _in_folder(name: str, descriptor: int) -> str:
    if descriptor < 0:
        return os.path.abspath(name)
    return os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), name)
