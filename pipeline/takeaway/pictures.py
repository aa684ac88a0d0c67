"""What every place of images gives to `embed` and `search`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.sources.base import Refusal


@dataclass(frozen=True, slots=True)
class Picture:
    id: str
    image: bytes | Path
    """Encoded, or the file that holds it."""
    stored: bool = False
    """Whether ingest made it, so that it is taken as it is."""


class Pictures(Protocol):
    """Images in an order that is the same every time."""

    count: int
    place: dict[str, Any]
    """Where they lie, for `open_again`."""

    def state(self) -> list[Any]:
        """What changes when a file is added, removed or written anew; JSON."""
        ...

    def between(self, start: int, stop: int) -> Iterator[Picture | Refusal]:
        """Those at positions `start` to `stop`, exclusive."""
        ...

    def find(self, ids: Sequence[str]) -> dict[str, Picture]:
        """Those of `ids` that are there."""
        ...


def state_of_files(files: Sequence[Path]) -> list[Any]:
    """Name, size and time of the last change of each: to read all of them would take as long as to embed."""
    stats = ((file, file.stat()) for file in files)
    return [[os.fsencode(file).hex(), stat.st_size, stat.st_mtime_ns] for file, stat in stats]
