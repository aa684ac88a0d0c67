"""Confines the process in which DVC reads an untrusted repository.

Symptom: `clinfonce compare` of a third-party branch contacts an address named in that branch, or never ends.
Cause: DVC fetches what its cache lacks, from a remote of .dvc/config, or from where a `.dvc` file says it was
imported from; a few lines can expand to any number of stages, variables, patterns and metrics; and DVC writes
locks and notes through any link in the repository, and opens pipes and devices as files. Cure: the kernel
limits this process's time and memory, and an audit hook checks each attempt to reach another machine, start a
program, or open or change a file, whichever library makes it.
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
"""Programs that may be started: DVC runs Git to read the local repository. All others, such as `ssh`, or a
program that a remote's configuration names to supply a password, are refused."""
_UNPICKLING = "pickle.find_class"
"""Event of a pickle that names code: DVC stores pickles below .dvc/tmp, which a repository may contain."""
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
"""Positions in the arguments of an event: of a path, and of the descriptor of the folder that it starts
from."""


@dataclass(frozen=True)
class Limits:
    cpu_seconds: int
    """CPU time in user and system mode: RLIMIT_CPU, which ends the process with SIGXCPU."""
    wall_seconds: int
    """Wall time, for a process that waits: ITIMER_REAL, SIGALRM."""
    memory_bytes: int
    """Memory: RLIMIT_DATA, beyond which allocations fail. Only Linux enforces it."""


class NoWayOut(RuntimeError):
    """Raised for an attempt to reach another machine, run a program or unpickle code. Not an `OSError`, as
    libraries retry those."""


def limit(limits: Limits) -> None:
    """Sets the limits of this process permanently."""
    _lower(resource.RLIMIT_CORE, 0)  # a core dump can have gigabytes
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
    _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    for number in (signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)


def wait_for_ever() -> None:
    """Lifts the limit of wall time: from here on this process may wait, for example for the user's answer."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _lower(what: int, most: int) -> None:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))


class Confinement:
    """Confines this process once it is entered, permanently and in all threads: no access to other machines,
    only files and folders are opened, and changes are made only below `writable`."""

    def __init__(self, writable: Iterable[str]) -> None:
        """`writable`: folders whose paths hold no links."""
        self._writable = tuple(folder + os.sep for folder in writable)
        self.refused: list[str] = []
        """Sentences about what was neither opened nor changed: libraries continue as if it did not exist."""

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
        if arguments[0] == socket.gethostname():
            # `core.hardlink_lock` looks for a longer name of this machine, and does without.
            raise OSError(errno.ENETUNREACH, "no name is looked up")
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
    """Returns whether opening might wait for another program, or reading might never end."""
    if isinstance(path, int):
        return False
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # opening it reports the error
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return False
    return os.path.realpath(os.fsdecode(path)) not in _HARMLESS


# --- changes ------------------------------------------------------------------------------------------------


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yields the paths, without links, that the event changes or creates."""
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
            # The last part may be a link, which is not followed.
            path = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
            if not (event == "os.mkdir" and os.path.isdir(path)):
                yield path


def _in_folder(name: str, descriptor: int) -> str:
    if descriptor < 0:
        return os.path.abspath(name)
    return os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), name)
