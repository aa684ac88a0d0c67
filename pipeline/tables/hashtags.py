"""The hashtags of a cell, in any common notation."""

import html
import re
from collections.abc import Iterator
from typing import Any

from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.tables.cells import Notices, NotOneValue, TooLarge, folded, normalized, text

MOST_TAGS = 10_000
"""Maximum number of tags of a cell, since thousands of rows are in memory at once."""
NAMES = ("text", "name", "tag")
"""Keys of objects that hold a tag; the first is Twitter's."""
_COMMAS = ",\u3001\uff0c\uff1b•"
"""Comma, ideographic comma, full-width comma and semicolon of Chinese and Japanese, and bullet."""
_BETWEEN_TAGS = re.compile(rf"[{_COMMAS}\n\r\t]")
_BETWEEN_WORDS = re.compile(rf"[\s|{_COMMAS}]+")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_BLANKS = re.compile(r"\s*")
_QUOTED = re.compile(r"""\"[^"\\]*(?:\\.[^"\\]*)*\"|'[^'\\]*(?:\\.[^'\\]*)*'""", re.DOTALL)
"""Repeats characters outside the group, where `re` stores no state for each of them."""
_BARE = re.compile(r"""[^,"'\[\](){}]*""")
_NOTHING = ("None", "NULL", "null", "nan")
"""Unquoted items of lists that are not tags."""
_HUGE_ENTITY = re.compile(r"&#[xX]?[0-9a-fA-F]{9}")
"""A numeric HTML entity of nine or more digits; Python raises an error for one of thousands."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_AROUND = " \t\r\n.!?:;'\"()[]{}…“”«»\u2018\u2019\u3002\uff01\uff1f" + _COMMAS
"""Characters around a hashtag in a sentence that are not part of it."""
_ADDRESS = re.compile(r"\w+://|www\.", re.IGNORECASE)
PROSE_WORDS = 6
"""Number of words from which a tag is more likely a sentence."""
WORDS_BESIDE = "cells hold words beside their hashtags: the hashtags alone are taken"
PROSE = "cells hold sentences where hashtags are expected: each counts as one tag"


def hashtags_of(cell: Any, notices: Notices | None = None) -> list[str]:
    """Returns the tags of a list or of text. Raises `NotOneValue`, and `TooLarge` also for too many tags.

    Text may be a list written by Python, JSON, numpy or PostgreSQL, or parts between `;` or `|`; else the
    words after `#` are the tags, else the parts between commas and line breaks. A tag may contain spaces in a
    list and between separators. In a sentence with hashtags, only these count.
    """
    if cell is None or cell != cell:
        return []
    if isinstance(cell, list):
        tags = _of_list(cell, notices)
    elif isinstance(cell, dict):
        tags = _of_part(cell, notices)
    else:
        written = text(cell, notices)
        tags = _of_text(written, notices) if written is not None else []
        _check_number(tags)
    # Of a tag of invisible characters, only the number sign remains.
    tags = [tag for tag in tags if normalized_hashtag(tag)]
    if notices is not None and any(len(tag.split()) >= PROSE_WORDS for tag in tags):
        notices[PROSE] += 1
    return tags


def _of_list(parts: list[Any], notices: Notices | None) -> list[str]:
    _check_number(parts)
    tags: list[str] = []
    for part in parts:
        tags += _of_part(part, notices)
        _check_number(tags)
    return tags


def _check_number(tags: list[Any]) -> None:
    if len(tags) > MOST_TAGS:
        raise TooLarge(f"more than {MOST_TAGS:,} hashtags")


def _of_part(part: Any, notices: Notices | None) -> list[str]:
    if isinstance(part, dict):
        name = next((key for key in NAMES if isinstance(part.get(key), str)), None)
        if name is None:
            raise NotOneValue("an object")
        part = part[name]
    written = text(part, notices)
    if written is None:
        return []
    return list(_signed(written)) or [written]


def _of_text(written: str, notices: Notices | None) -> list[str]:
    # HTML entities contain a semicolon, and may stand for the number sign.
    if not _HUGE_ENTITY.search(written):
        written = html.unescape(written)
    written = _LONE_SIGN.sub("#", folded(written).translate(_SIGNS))
    if (listed := _listed(written)) is not None:
        return listed
    for separator in (";", "|"):
        if separator in written:
            parts = _parts(written.split(separator))
            return [tag for part in parts for tag in _between_separators(part)]
    signed = list(_signed(written))
    if signed and notices is not None and not all("#" in word for word in _words(written)):
        notices[WORDS_BESIDE] += 1
    return signed or _parts(_BETWEEN_TAGS.split(written))


def _parts(written: list[str]) -> list[str]:
    return [part.strip() for part in written if part.strip()]


def _between_separators(part: str) -> list[str]:
    is_one = part.startswith("#") and "#" not in part[1:]
    return [part] if is_one else list(_signed(part)) or [part]


# --- the sign -----------------------------------------------------------------------------------------------

_SIGNS = {0xFF03: "#", 0xFE5F: "#"}
"""The full-width and the small number sign."""
_LONE_SIGN = re.compile(r"(?<!\S)#\s+")


def _signed(written: str) -> Iterator[str]:
    """Yields each `#tag`. `summer#beach` is two tags; `C#` and addresses are none."""
    if "#" not in written:
        return
    for word in _words(written):
        if "#" in word and not word.endswith("#") and not _ADDRESS.match(word):
            yield from (f"#{tag}" for part in word.split("#") if (tag := part.strip(_AROUND)))


def _words(written: str) -> list[str]:
    words = (word.strip(_AROUND) for word in _BETWEEN_WORDS.split(written))
    return [word for word in words if word]


# --- lists that were written as text ------------------------------------------------------------------------


def _listed(written: str) -> list[str] | None:
    """Returns the tags of a list written as text, or None if it is not a list."""
    closing = _BRACKETS.get(written[:1])
    if closing is None or not written.endswith(closing):
        return None
    if closing == ")" and written[1:].lstrip()[:1] not in ("'", '"', ")"):
        return None
    inner = written[1:-1]
    if closing != ")" and inner.strip():
        try:
            value = parse_json(written)
        except NotJson:
            pass
        else:
            return hashtags_of(value)
    return _items(inner)


def _items(inner: str) -> list[str] | None:
    tags, place = [], 0
    while (place := _past_blanks(inner, place)) < len(inner):
        is_quoted = inner[place] in "\"'"
        item = (_QUOTED if is_quoted else _BARE).match(inner, place)
        if item is None:
            return None
        place = _past_blanks(inner, item.end())
        follows = inner[place : place + 1]
        # numpy writes no commas.
        if follows not in (",", "") and not (is_quoted and follows in "\"'"):
            return None
        place += follows == ","
        tag = folded(_ESCAPED.sub(r"\1", item.group()[1:-1]) if is_quoted else item.group())
        if tag and (is_quoted or tag not in _NOTHING):
            tags.append(tag)
    return tags


def _past_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found is not None, "the empty match is possible"
    return found.end()


def normalized_hashtag(tag: str) -> str:
    """Returns the canonical form of a tag: NFKC, case-folded, without `#`; may be empty."""
    return normalized("NFKC", tag).casefold().strip().lstrip("#").strip()
