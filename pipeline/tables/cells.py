"""What one cell of a table says, whatever its type: the rule for labels, attributes, splits and paths."""

import re
import unicodedata
from collections import Counter
from typing import Any, Literal, TypeAlias

_WITHOUT_LOOKS = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Soft hyphen, zero-width space, word joiner, byte order mark: text with and without them looks the same."""
_JOINERS = re.compile("[\u200c\u200d]")
"""They change how letters of some scripts join, and which picture emoji make; elsewhere nobody sees them."""
_MANY_MARKS = re.compile(r"[^\w\s\x00-\x7f]{31}")
"""Python sorts a run of accents in quadratic time; no text has thirty (UAX 15, the stream-safe format)."""
_JOINED = ("Lo", "So", "Mn", "Mc", "Sk")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


Notices: TypeAlias = Counter[str]
"""How many cells each sentence holds of; `noted` writes them out."""
FOLDED = (
    "cells were written with characters that nobody sees, or with accents as characters of their own: they "
    "count as the text that looks the same"
)


class NotOneValue(ValueError):
    """A cell with a list, an object or bytes that are no text; the message is which."""


def text(cell: Any, notices: Notices | None = None) -> str | None:
    """A cell as text; None for what is empty. 3.0 is "3": tables turn integers with gaps into floats.

    Bytes are text where they are printable UTF-8, as Impala and Spark write it. Raises `NotOneValue`.
    """
    if cell is None or cell != cell:
        return None
    if isinstance(cell, str):
        written = folded(cell)
        if notices is not None and written != cell and written != cell.strip():
            notices[FOLDED] += 1
        return written or None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, bytes):
        return text(_decoded(cell), notices)
    if isinstance(cell, list | dict):
        raise NotOneValue("a list" if isinstance(cell, list) else "an object")
    return str(cell).strip() or None


def folded(written: str) -> str:
    """As text that looks the same is written: composed (NFC), without blanks around it, nor characters
    that nobody sees."""
    if written.isascii():
        return written.strip()
    seen = normalized("NFC", _WITHOUT_LOOKS.sub("", written))
    return _JOINERS.sub(_joiner, seen).strip()


def normalized(form: Literal["NFC", "NFKC"], written: str) -> str:
    """As `unicodedata.normalize`; text with a run of marks that no text has stays as it is."""
    return written if _MANY_MARKS.search(written) else unicodedata.normalize(form, written)


def is_folded(cell: Any) -> bool:
    """Whether more than blanks around it is left out of what it says."""
    return isinstance(cell, str) and not cell.isascii() and folded(cell) != cell.strip()


def noted(notices: Notices) -> list[str]:
    return [f"{count:,} {sentence}" for sentence, count in notices.items()]


def _joiner(found: re.Match[str]) -> str:
    before, after = found.start() - 1, found.end()
    is_between = before >= 0 and after < len(found.string)
    if is_between and all(unicodedata.category(found.string[side]) in _JOINED for side in (before, after)):
        return found.group()
    return ""


def _decoded(cell: bytes) -> str:
    try:
        decoded = cell.decode()
    except UnicodeDecodeError:
        raise NotOneValue("bytes that are not UTF-8 text") from None
    if _CONTROLS.search(decoded):
        raise NotOneValue("bytes that are not UTF-8 text")
    return decoded


def are_equal(one: Any, other: Any) -> bool:
    """Whether two cells are one value, also where one is a number and the other its text."""
    try:
        return bool(one == other or text(one) == text(other))
    except NotOneValue:
        return False
