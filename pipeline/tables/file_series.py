"""Series of files that carry their number and their total, as in `train-00000-of-00003.parquet`."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pipeline.runtime.errors import UserError, listed

NAME = re.compile(
    r"(?P<prefix>(?:.*[^0-9])?)(?P<number>[0-9]+)-of-(?P<total>[0-9]+)"
    r"(?P<checksum>-[0-9a-f]{16})?(?P<ending>(?:\.[^/]*)?)",
    re.DOTALL,
)
"""Older versions of `datasets` add a checksum: `train-00000-of-00003-a09b74b3ef9c3b56.parquet`."""
NAMES_SHOWN = 6


@dataclass
class _Series:
    """The files of one prefix, ending and total that exist."""

    example: re.Match[str]
    numbers: set[int] = field(default_factory=set)

    @property
    def total(self) -> int:
        return int(self.example["total"])

    def missing(self) -> tuple[list[str], int]:
        """Returns the first missing names, and the number of all of them."""
        # Some programs count from 1.
        first = int(0 not in self.numbers and self.total in self.numbers)
        expected = range(first, first + self.total)
        absent = (number for number in expected if number not in self.numbers)
        return (
            [self._name(number) for number in islice(absent, NAMES_SHOWN)],
            self.total - sum(number in expected for number in self.numbers),
        )

    def _name(self, number: int) -> str:
        one = self.example
        checksum = "-*" if one["checksum"] else ""
        return f"{one['prefix']}{number:0{len(one['number'])}}-of-{one['total']}{checksum}{one['ending']}"


def check_series(names: Iterable[str], folder: str) -> None:
    """Checks that no file of a series is missing among `names`, paths relative to the same folder.

    Raises `UserError`, which calls it `folder`, with the missing files, or with the totals of a series that
    has several.
    """
    found: dict[tuple[str, str], dict[int, _Series]] = defaultdict(dict)
    for name in names:
        if match := NAME.fullmatch(name):
            of_prefix = found[match["prefix"], match["ending"]]
            series = of_prefix.setdefault(int(match["total"]), _Series(match))
            series.numbers.add(int(match["number"]))
    for of_prefix in found.values():
        if len(of_prefix) > 1:
            examples = [series.example[0] for _, series in sorted(of_prefix.items())]
            raise UserError(
                f"{folder} holds files of {len(of_prefix)} series of one name, which differ in their total: "
                f"{listed(examples, NAMES_SHOWN)}: keep the files of one total"
            )
    parts = [series.missing() for of_prefix in found.values() for series in of_prefix.values()]
    if count := sum(missing for _, missing in parts):
        shown = [name for first, _ in parts for name in first][:NAMES_SHOWN]
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        raise UserError(
            f"{folder} lacks {listed(shown)}{more}, as the numbers in the other names say: download the "
            "missing files, or, to read a part of the data, rename the others, without -of- and the total"
        )


def series_notes(file: Path) -> list[str]:
    """Returns a note if `file` is one of several of a series, of which it alone is read."""
    match = NAME.fullmatch(file.name)
    if match is None or int(match["total"]) <= 1:
        return []
    return [f"{file.name} is one of {int(match['total']):,} files of a series: the others are not read"]
