"""The text of a table cell of any type, for labels, attributes, splits and paths."""

import re
import unicodedata
from collections import Counter
from typing import Any, Literal, TypeAlias

_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
"""Invisible characters: soft hyphen, grapheme joiner, zero-width space, direction marks, embeddings and
isolates (UAX 9), word joiner, invisible operators, byte order mark."""
_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\uffa0]")
"""Blanks other than the ordinary one: Unicode's category Zs, the empty Braille pattern, Hangul fillers."""
_JOINERS = re.compile("[\u200c\u200d]")
"""Characters that change how letters of some scripts and emoji join; elsewhere they are invisible."""
_MANY_MARKS = re.compile(r"[^\w\s\x00-\x7f]{31}")
"""A run of combining marks, which Python sorts in quadratic time; real text has at most 30 (UAX 15)."""
_JOINED = ("Lo", "So", "Mn", "Mc", "Sk")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


Notices: TypeAlias = Counter[str]
"""The number of cells by notice; `noted` formats them."""
FOLDED = (
    "cells were written with characters that nobody sees, with blanks other than the ordinary one, or with "
    "accents as characters of their own: they count as the text that looks the same"
)


LONGEST_TEXT = 1 << 17
"""Maximum number of characters of a cell: parsing takes many times its size, and thousands of rows are in
memory at once."""
TOO_LONG = f"a text of more than {LONGEST_TEXT:,} characters"


class NotOneValue(ValueError):
    """Raised for a cell with a list, an object or bytes that are not text; the message says which."""


class TooLarge(ValueError):
    """Raised for a cell with a very long text or list, before anything parses it; the message is the reason
    for which its row is refused."""


def text(cell: Any, notices: Notices | None = None) -> str | None:
    """Returns a cell as text that looks the same, or None if it is empty. Raises `NotOneValue`."""
    written = as_written(cell)
    if written is None:
        return None
    looks = folded(written)
    if notices is not None and looks != written:
        notices[FOLDED] += 1
    return looks or None


def as_written(cell: Any) -> str | None:
    """Returns a cell as text without surrounding blanks, or None if it is empty. 3.0 is "3", as integers with
    missing values are floats.

    Printable UTF-8 bytes are text, as written by Impala and Spark. Raises `NotOneValue` and `TooLarge`.
    """
    if cell is None or cell != cell:
        return None
    if isinstance(cell, str):
        if len(cell) > LONGEST_TEXT:
            raise TooLarge(TOO_LONG)
        return cell.strip() or None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, bytes):
        return _decoded(cell).strip() or None
    if isinstance(cell, list | dict):
        raise NotOneValue("a list" if isinstance(cell, list) else "an object")
    return str(cell).strip() or None


def folded(written: str) -> str:
    """Returns the canonical form of text that looks the same: NFC, with ordinary blanks, without surrounding
    blanks and invisible characters."""
    if written.isascii():
        return written.strip()
    visible = normalized("NFC", _BLANKS.sub(" ", _INVISIBLE.sub("", written)))
    return _JOINERS.sub(_joiner, visible).strip()


def normalized(form: Literal["NFC", "NFKC"], written: str) -> str:
    """Same as `unicodedata.normalize`, but keeps text with an unrealistic run of combining marks as it is."""
    return written if _MANY_MARKS.search(written) else unicodedata.normalize(form, written)


def is_folded(cell: Any) -> bool:
    """Returns whether `folded` changes more than surrounding blanks."""
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
    """Returns whether two cells have the same value; a number equals its text.

    Lists, objects and very long texts equal only themselves.
    """
    return bool(one == other or comparable(one) == comparable(other))


def comparable(cell: Any) -> Any:
    """Returns what equal cells share: the text of a cell, or a list, object or very long text itself."""
    try:
        return text(cell)
    except (NotOneValue, TooLarge):
        return cell
