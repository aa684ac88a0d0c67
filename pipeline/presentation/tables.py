"""Tables as data, for HTML, Markdown and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = False
    hint: str = ""
    """Meaning of the values, in a few words."""


@dataclass(frozen=True)
class Span:
    """A value with its interval, on a 0-1 scale common to all rows of the column."""

    low: float
    at: float
    high: float


@dataclass(frozen=True)
class Cell:
    text: str
    value: float | str | None = None
    """Sort key; None: the text."""
    colour: str = ""
    """A name in `themed_svg.COLOURS` for a swatch before the text."""
    span: Span | None = None
    bar: float | None = None
    """Length from -1 (all to the left) to 1, drawn beside the text."""
    strong: bool = False
    detail: str = ""
    """A second, less prominent line."""


@dataclass(frozen=True)
class Table:
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    note: str = ""
    """What was left out, or how to read the table."""
    scale: tuple[str, str] | None = None
    """The values at 0 and 1 of the spans."""
    kinds: Literal["", "tall"] = ""
    """tall: scrolls inside its own box."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), "one cell per column"

    @property
    def hints(self) -> list[str]:
        """Meaning of the columns, one sentence each."""
        return [f"{column.title}: {column.hint}." for column in self.columns if column.hint]

    def has_spans(self, column: int) -> bool:
        return any(row[column].span is not None for row in self.rows)


def spans(
    triples: Sequence[tuple[float, float, float] | None],
) -> tuple[list[Span | None], tuple[float, float]]:
    """Puts (low, at, high) triples on a common 0-1 scale with a margin; also returns the scale's ends."""
    values = [value for triple in triples if triple is not None for value in triple]
    if not values:
        return [None] * len(triples), (0.0, 1.0)
    margin = 0.06 * (max(values) - min(values)) or 0.05
    start, end = min(values) - margin, max(values) + margin

    def scaled(value: float) -> float:
        return (value - start) / (end - start)

    return [None if t is None else Span(*map(scaled, t)) for t in triples], (start, end)
