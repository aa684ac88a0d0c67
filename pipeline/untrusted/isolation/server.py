"""The process that forks workers, and the worker's loop.

A fork takes milliseconds, but a new interpreter that imports the decoders takes tenths of a second. A fork is
safe here, since this process has a single thread; in a fork of the calling process, a lock of another thread
might never be released.

The control socket carries requests: a line of JSON that names modules to import, with two sockets. The first
carries the calls of the new worker. The second is its life line: when the far end closes it, the worker is
killed; when the worker has ended, its last image and exit status are sent on it. When the control socket is
closed, all workers are killed, and this process ends.
"""

import importlib
import json
import mmap
import os
import selectors
import signal
import socket
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

from pipeline.runtime.parent import end_with
from pipeline.untrusted.isolation import limits

LONGEST_REQUEST = 1 << 20
STDERR = 2


@dataclass(frozen=True)
class _Child:
    process: int
    note: mmap.mmap
    line: socket.socket


def main(descriptor: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process handles Ctrl+C
    with socket.socket(fileno=descriptor) as control, selectors.DefaultSelector() as selector:
        _Server(control, selector).serve()


class _Server:
    def __init__(self, control: socket.socket, selector: selectors.BaseSelector) -> None:
        self._control, self._selector = control, selector
        self._children: dict[int, _Child] = {}
        # A child that has ended wakes the selector.
        self._ended, ending = socket.socketpair()
        for one in (self._ended, ending):
            one.setblocking(False)
        self._ending = ending
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
        selector.register(control, selectors.EVENT_READ, self._answer)
        selector.register(self._ended, selectors.EVENT_READ, self._bury)

    def serve(self) -> None:
        """Serves requests until the control socket is closed."""
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data()
        except EOFError:
            for child in self._children.values():
                os.kill(child.process, signal.SIGKILL)
            for child in self._children.values():
                os.waitpid(child.process, 0)

    def _answer(self) -> None:
        request, descriptors, *_ = socket.recv_fds(self._control, LONGEST_REQUEST, 2)
        if not request:
            raise EOFError
        while not request.endswith(b"\n"):
            more = self._control.recv(LONGEST_REQUEST)
            if not more:
                raise EOFError
            request += more
        for name in json.loads(request):
            _import(name)
        calls, line = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        try:
            self._fork(calls, line)
            answer = b"\n"
        except OSError as error:
            line.close()
            answer = f"{os.strerror(error.errno or 0)}\n".encode()
        calls.close()
        self._control.sendall(answer)

    def _fork(self, calls: socket.socket, line: socket.socket) -> None:
        note = mmap.mmap(-1, limits.NOTE.size)
        server = os.getpid()
        process = os.fork()
        if process == 0:
            self._become_worker(calls, note, server)
        child = self._children[process] = _Child(process, note, line)
        self._selector.register(line, selectors.EVENT_READ, lambda: self._kill(child))

    def _become_worker(self, calls: socket.socket, note: mmap.mmap, server: int) -> NoReturn:
        of_user = None
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for one in (self._control, self._ended, self._ending, *(c.line for c in self._children.values())):
                one.close()
            # The worker ends with the server, even if that is killed, and even inside a decoder.
            end_with(server, signal.SIGKILL)
            of_user = _silenced()
            limits.begin(note)
            _work(Connection(calls.detach()))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the caller is gone
        except BaseException as error:
            if of_user is not None:
                os.dup2(of_user, STDERR)
            # Imported here, since only a worker that fails needs it.
            from pipeline.runtime.console import log_traceback

            log_traceback(error)
        finally:
            os._exit(1)

    def _kill(self, child: _Child) -> None:
        """Kills a worker whose caller has closed the life line."""
        if child.process in self._children:  # it may have been reaped since the selector returned
            self._selector.unregister(child.line)
            os.kill(child.process, signal.SIGKILL)

    def _bury(self) -> None:
        self._ended.recv(4096)
        for child in list(self._children.values()):
            ended, status = os.waitpid(child.process, os.WNOHANG)
            if not ended:
                continue
            del self._children[child.process]
            if child.line.fileno() in self._selector.get_map():
                self._selector.unregister(child.line)
            (number,) = limits.NOTE.unpack_from(child.note)
            how = {"number": number, "exit": os.waitstatus_to_exitcode(status)}
            with suppress(BrokenPipeError, ConnectionResetError):  # the caller is gone
                child.line.sendall(json.dumps(how).encode())
            child.line.close()
            child.note.close()


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception:
        # The worker fails to import it, too, and answers with the reason.
        return


# --- a worker -----------------------------------------------------------------------------------------------


def _silenced() -> int:
    """Drops what is written to standard error from now on, and returns a descriptor of what it was.

    Decoders write there past our escaping, and without end: libtiff a line for each damaged line of pixels.
    """
    of_user = os.dup(STDERR)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDERR)
    os.close(null)
    return of_user


def _work(connection: Connection) -> NoReturn:
    while True:
        message = connection.recv_bytes()
        limits.begin_call(len(message))
        folder, function, arguments = ForkingPickler.loads(message)
        del message
        try:
            os.chdir(folder)
            answer = (True, function(*arguments))
        except Exception as error:
            answer = (False, error)
        limits.end()
        _send(connection, answer)


def _send(connection: Connection, answer: tuple[bool, Any]) -> None:
    done, value = answer
    if not done:
        value.add_note("in a worker process:\n" + "".join(traceback.format_exception(value)))
    try:
        connection.send((done, value))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        # Some exceptions can't be sent.
        connection.send((False, RuntimeError(f"{type(value).__name__}: {value} ({error})")))
