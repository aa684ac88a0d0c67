"""What every source of images gives to ingest."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.untrusted.safe_paths import SafePath

Split = Literal["train", "test"]
SplitWord = Literal["train", "test", "validation"]
"""What a table may say. Validation images become test images where there are no others, else train images."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One image with all that its source says of it. An unknown label, split or attribute is None."""

    id: str
    image: bytes | SafePath
    """An encoded image, or the file that holds one."""
    path: str
    """Where the image comes from, as its owner would name it."""
    label: str | None = None
    split: SplitWord | None = None
    hashtags: list[str] = field(default_factory=list)
    attributes: dict[str, str | None] = field(default_factory=dict)
    hierarchy: list[str] = field(default_factory=list)
    """Root to leaf."""
    where: str = field(default="", compare=False)
    """Where the row stands in its table, such as a line; empty: its path says it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that does not become a row, where it stood and why."""

    where: str
    reason: str


class Source(Protocol):
    """One that can tell cheaply about how many rows it has does so by `__length_hint__`."""

    attribute_names: list[str]
    """The columns of auxiliary information, in the order in which they are stored."""

    @property
    def notes(self) -> list[str]:
        """What the source decided by itself and a user should know, one sentence each: complete once all
        rows are read."""

    def rows(self) -> Iterator[SourceRow | Refusal]: ...
