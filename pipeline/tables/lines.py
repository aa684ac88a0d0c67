"""The lines of an untrusted text file, within limits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from pipeline.untrusted.safe_paths import SafePath

LONGEST_LINE = 1 << 23
"""Maximum number of characters per line: 100,000 columns of 80. Parsed JSON takes fifty times the bytes."""
MOST_LINES = 1000
"""Maximum number of lines per row."""
NOT_A_ROW = "the line is not a row of the table"
NOT_UTF_8 = "the line is not UTF-8 text"


@dataclass(frozen=True, slots=True)
class NotARow:
    """Replacement of an invalid row, with the reason."""

    reason: str


class LineTooLong(ValueError):
    """Raised for a line or row of more than `LONGEST_LINE` characters or `MOST_LINES` lines."""

    def __init__(self, what: str = "line") -> None:
        lines = f", or {MOST_LINES:,} lines" if what == "row" else ""
        super().__init__(f"the {what} is longer than {LONGEST_LINE:,} characters{lines}")


class Lines:
    """Iterates over the lines of `file`. Raises `LineTooLong` for a long line, and can continue after it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(("\n", "\r")):
                line = self._file.readline(LONGEST_LINE)
            raise LineTooLong
        return line


def open_text(path: SafePath) -> TextIO:
    """Opens a text file. Keeps newlines; bytes that are not UTF-8 become surrogates."""
    return path.open_text(newline="", errors="surrogateescape")


def text_lines(file: TextIO) -> Iterator[tuple[int, str | NotARow]]:
    """Yields each line with its number, starting at 1."""
    lines, number = Lines(file), 0
    while True:
        number += 1
        try:
            yield number, next(lines)
        except LineTooLong as error:
            yield number, NotARow(str(error))
        except StopIteration:
            return
