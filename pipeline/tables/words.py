"""The words of a text in any script."""

import re
import unicodedata
from functools import cache

from pipeline.tables.cells import normalized

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3041-\u30ff"  # Japanese iteration marks, Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Letters of scripts that put no spaces between words."""
_ONE_SPELLING = str.maketrans({"\u2019": "'", "_": " "})
"""The typographic apostrophe is the other one; an underscore, a letter to `re`, ends a word."""
_RUNS = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """Returns the words in order, in NFKC and case-folded, so that `Straße` and `STRASSE` are one word.

    A word consists of letters of one script, their marks, and digits; an apostrophe within it is part of it.
    Scripts without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give pairs of adjacent
    characters, the usual units of retrieval in them.
    """
    words: list[str] = []
    plain = normalized("NFKC", text).casefold().translate(_ONE_SPELLING)
    for word in _pattern().findall(plain):
        for run in _RUNS.findall(word):
            words += _pairs(run) if re.match(f"[{_UNSPACED}]", run) else [run]
    return words


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(max(1, len(run) - 1))]


@cache
def _pattern() -> re.Pattern[str]:
    # `\w` lacks the combining marks, which are the vowels of Indic scripts.
    marks = "".join(
        re.escape(chr(c)) for c in range(0x300, 0x1F000) if unicodedata.category(chr(c))[0] == "M"
    )
    return re.compile(rf"[\w{marks}]+(?:'[\w{marks}]+)*")
