"""Refused rows, counted by reason."""

from collections import Counter
from collections.abc import Iterable

REASONS_SHOWN = 3


class Refused(Counter[str]):
    """The number of refused rows by reason."""

    def __init__(self, refusals: Iterable[tuple[str, str]] = ()) -> None:
        """`refusals`: pairs of a reason and the place of a row."""
        super().__init__()
        self.first: dict[str, str] = {}
        """The place of the first row, by reason."""
        for reason, where in refusals:
            self.add(reason, where)

    def add(self, reason: str, where: str, rows: int = 1) -> None:
        self[reason] += rows
        self.first.setdefault(reason, where)

    def in_words(self) -> str:
        return "; ".join(
            f"{count:,} x {reason}, e.g. {self.first[reason]}"
            for reason, count in self.most_common(REASONS_SHOWN)
        )
