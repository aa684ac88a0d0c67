"""Rows that were refused, counted by their reasons, for a sentence."""

from collections import Counter
from collections.abc import Iterable

REASONS_SHOWN = 3


class Refused(Counter[str]):
    """How many rows were refused for each reason."""

    def __init__(self, refusals: Iterable[tuple[str, str]] = ()) -> None:
        """Of reasons, each with the place of its row."""
        super().__init__()
        self.first: dict[str, str] = {}
        """Of each reason the place of one row."""
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
