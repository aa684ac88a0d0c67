"""What workers do in the tests; they import this module by its name."""

import ctypes
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import Decoded, squares, whole
from pipeline.sources.base import Refusal
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation import limits
from pipeline.untrusted.isolation.limits import limited


def befall(item: Any) -> Any:
    """What decoders do: ("signal", n), ("spin",), ("sleep",), ("bytes", n); all else is passed through."""
    match item:
        case ("signal", number):
            os.kill(os.getpid(), number)
            time.sleep(60)
        case ("spin",):
            while True:
                pass
        case ("sleep",):
            time.sleep(60)
        case ("bytes", count):
            try:
                return len(bytearray(count))
            except MemoryError as error:
                return limits.lacked_memory(error)
        case ("raise", text):
            raise ValueError(text)
    return item


def all_of(items: Sequence[Any], log: str | None = None, seconds: float = 0.3) -> list[Any]:
    """Under limits that tests can wait for. Each item that is begun becomes a line of the file `log`."""
    # Where tests run beside each other the clock is much faster than a process.
    wall_seconds = 0.5 if ("sleep",) in items else 60
    limits.CPU_SECONDS, limits.WALL_SECONDS = seconds, wall_seconds  # type: ignore[assignment]
    done = []
    for item in limited(items):
        if log is not None:
            with open(log, "a") as file:
                file.write(f"{os.getpid()} {item}\n")
        done.append(befall(item))
    return done


def between(items: Sequence[Any], *_: Any) -> None:
    """Dies of no item."""
    for _ in limited(items):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def stuck(items: Sequence[Any], path: str) -> None:
    """Under the limits of every image; tells who it is, and by whom it was forked."""
    for item in limited(items):
        Path(f"{path}.new").write_text(f"{os.getpid()} {os.getppid()}")
        os.replace(f"{path}.new", path)
        befall(item)


def state(_: Sequence[Any]) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "threads": [len(os.listdir(f"/proc/{pid}/task")) for pid in (os.getpid(), os.getppid())],
    }


def noisy(items: Sequence[Any]) -> list[Any]:
    """Prints in every way that decoders and their wrappers print."""
    for item in limited(items):
        os.write(1, f"stdout {item}\n".encode())
        os.write(2, f"stderr {item}\n".encode())
        sys.stderr.write(f"sys.stderr {item}\n")
        logging.getLogger("PIL").error("logged %s", item)
        warnings.warn(f"warned {item}", stacklevel=1)
        ctypes.CDLL(None).perror(b"perror")
    return list(items)


class Unreadable:
    """Can't be unpickled, which no function of a worker can answer."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise ValueError("no worker can read it")


def refused(item: Any, reason: str) -> str:
    return f"refused: {reason}"


# --- in place of what stages and commands call --------------------------------------------------------------


def squares_or_die(
    pictures: Sequence[InputImage | Refusal], size: int, value_range: ValueRange | None
) -> list[Decoded | Refusal]:
    _die_of_killers(pictures)
    return squares(pictures, size, value_range)


def whole_or_die(pictures: Sequence[InputImage | Refusal], size: int) -> list[NDArray[np.uint8] | None]:
    _die_of_killers(pictures)
    return whole(pictures, size)


def _die_of_killers(pictures: Sequence[InputImage | Refusal]) -> None:
    for picture in limited(pictures):
        if isinstance(picture, InputImage) and picture.id.startswith("killer"):
            os.kill(os.getpid(), signal.SIGABRT)
