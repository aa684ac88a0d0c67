"""What every place of images gives to `embed` and `search`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.sources.base import Refusal
from pipeline.storage.files import version_of
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath

LONGEST_ID = 4096
"""Characters, as of a path. Ids are held, printed and written."""
ALLOWED_BY = "which needs --allow-outside-paths"


def pictures_root(folder: Path, *, allow_outside_paths: bool) -> Root:
    """A folder that the user named: what lies in it, or a table in it names, may not lead out of it."""
    return Root(folder, None if allow_outside_paths else Boundary.around(folder, ALLOWED_BY))


@dataclass(frozen=True, slots=True)
class InputImage:
    id: str
    image: bytes | SafePath
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

    def between(self, start: int, stop: int) -> Iterator[InputImage | Refusal]:
        """Those at positions `start` to `stop`, exclusive."""
        ...

    def find(self, ids: Sequence[str]) -> Iterator[InputImage]:
        """Those of `ids` that are there, each once, in any order."""
        ...


def state_of_file(file: SafePath) -> list[Any]:
    """Name and version: to read all files would take as long as to embed them."""
    name, status = os.fsencode(file.path).hex(), file.status()
    return [name] if status is None else [name, *version_of(status)]
