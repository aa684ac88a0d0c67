"""The interface of the sources of images for `embed` and `search`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.sources.base import Refusal
from pipeline.storage.files import version_of
from pipeline.storage.schema import Layout
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath

LONGEST_ID = 4096
"""Maximum number of characters of an id, as of a path. Ids are held in memory, printed and written."""
ALLOWED_BY = "which needs --allow-outside-paths"


def pictures_root(folder: Path, *, allow_outside_paths: bool) -> Root:
    """Returns the root of a folder that the user named. Links in it, and paths in its tables, may lead out of
    it only with `allow_outside_paths`; links of ingest's output may lead to DVC's cache, which
    `cache.type symlink` puts in place of copies."""
    if allow_outside_paths:
        return Root(folder, None)
    return Root(folder, Boundary.around(folder, ALLOWED_BY, with_dvc_objects=_is_output_of_dvc(folder)))


def _is_output_of_dvc(folder: Path) -> bool:
    """Returns whether it is the folder of ingest's output in a repository of DVC."""
    real, output = Path(os.path.realpath(folder)), Layout().images.parts
    if real.parts[-len(output) :] != output:
        return False
    return SafePath(real.parents[len(output) - 1] / ".dvc").is_folder()


@dataclass(frozen=True, slots=True)
class InputImage:
    id: str
    image: bytes | SafePath
    """The encoded image, or the file that holds it."""
    stored: bool = False
    """Whether ingest wrote it, so that it is used as it is."""


class Pictures(Protocol):
    """Images in an order that is always the same."""

    count: int
    notes: list[str]
    """What is not among them, one sentence each."""
    place: dict[str, Any]
    """Their location, for `open_again`."""

    def state(self) -> list[Any]:
        """Returns values that change when a file is added, removed or rewritten, for JSON."""
        ...

    def check_ids(self) -> None:
        """Raises `UserError` if images share an id, by which search could not find them again."""
        ...

    def between(self, start: int, stop: int) -> Iterator[InputImage | Refusal]:
        """Yields the images at positions `start` to `stop`, exclusive."""
        ...

    def find(self, ids: Sequence[str]) -> Iterator[InputImage]:
        """Yields the images of `ids`, in any order, without those that share their id or are gone."""
        ...


def state_of_file(file: SafePath) -> list[Any]:
    """Returns the name and version of a file: reading all files would take as long as embedding them."""
    name, status = os.fsencode(file.path).hex(), file.status()
    return [name] if status is None else [name, *version_of(status)]
