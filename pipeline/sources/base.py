"""The interface of sources: what they yield to ingest."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.untrusted.safe_paths import SafePath

Split = Literal["train", "test"]
SplitWord = Literal["train", "test", "validation"]
"""The splits in tables. Validation images become test images if there are no others, else train images."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """An image with its metadata. An unknown label, split or attribute is None."""

    id: str
    image: bytes | SafePath
    """An encoded image, or the file that holds one."""
    path: str
    """The path of the image, for users."""
    label: str | None = None
    split: SplitWord | None = None
    hashtags: list[str] = field(default_factory=list)
    attributes: dict[str, str | None] = field(default_factory=dict)
    text: str | None = None
    """A caption or title."""
    hierarchy: list[str] = field(default_factory=list)
    """From root to leaf."""
    where: str = field(default="", compare=False)
    """The place of the row in its table, such as a line; empty: see `path`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that is refused, with its place and the reason."""

    where: str
    reason: str


class Source(Protocol):
    """A source with a cheap estimate of its number of rows also has `__length_hint__`."""

    attribute_names: list[str]
    """The columns of auxiliary information, in order of storage."""

    @property
    def notes(self) -> list[str]:
        """Decisions that the source made by default, one sentence each; complete once all rows are read."""

    def rows(self) -> Iterator[SourceRow | Refusal]: ...
