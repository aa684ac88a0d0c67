"""Words for "unknown", which programs and people write where they could leave a cell empty."""

import re
from collections import Counter
from collections.abc import Iterable

from pipeline.runtime.errors import listed

WORDS = frozenset(
    {"n/a", "na", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "none", "nil", "\\n", "unknown", "missing"}
    | {"-", "--", "\N{EN DASH}", "\N{EM DASH}", "?"}
    | {"unlabeled", "unlabelled", "unclassified", "unannotated", "unassigned"}
    | {"nolabel", "notlabeled", "notlabelled", "notclassified", "withoutlabel"}
)
"""In lower case, without blanks, `_` and `-`. `<NA>` and `NaT` are written by pandas, `\\N` by MySQL and
PostgreSQL, `_unlabeled` by FiftyOne."""
LONGEST = 2 * max(map(len, WORDS))
"""Maximum number of characters as written."""
_SEPARATORS = re.compile(r"[\s_-]+")
COLUMNS_SHOWN = 6
WORDS_SHOWN = 3
LEAVE_EMPTY = "leave such cells empty"
"""The cure in tables."""


def is_unknown_word(written: str) -> bool:
    """Returns whether `written` is such a word, in any case, and with any blanks, `_` and `-` in or around
    it."""
    if len(written) > LONGEST:
        return False
    plain = written.casefold()
    return plain in WORDS or _SEPARATORS.sub("", plain) in WORDS


def unknown_word_notes(columns: Iterable[tuple[str, Counter[str]]], cure: str = LEAVE_EMPTY) -> list[str]:
    """Returns a note on the columns in which such words count as values: a name, and the number of each word.

    The words stay values, as they may be some: an image of a bag has the pattern `none`.
    """
    found = [
        f"{name} ({listed([f'{count:,} x {word}' for word, count in words.most_common()], WORDS_SHOWN)})"
        for name, words in columns
        if words
    ]
    if not found:
        return []
    return [
        f'words for "unknown" count as values like any other, in {listed(found, COLUMNS_SHOWN)}: {cure} if '
        "nothing is known there"
    ]
