"""Untrusted YAML as plain data; every failure is reported in one sentence."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)

from pipeline.runtime.errors import UserError, first_line
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import MISSING, UnsafePath

MOST_BYTES = 1 << 17
"""Maximum size of a file; a file of parameters has ten thousand bytes. The parser takes eight seconds at
worst."""
MOST_EXPANDED = 1 << 22
"""Maximum number of characters and values with all aliases expanded; twenty lines can hold a billion."""
DEEPEST = 50
"""Maximum nesting of lists and maps. The parser is recursive, and Python stops it at a few hundred levels."""
MOST_BITS = 4096
"""Maximum size of a whole number, which may be written in hexadecimal digits."""
PLAIN = (str, bool, int, float, type(None))
CONFLICT_MARKER = re.compile(r"^(?:<{7}|>{7})(?: |\r?$)", re.MULTILINE)
"""Where one side of a conflict begins or ends, as a merge or rebase of Git leaves it in a file."""


def read_yaml(path: Path) -> Any:
    """Reads `path` as text, numbers, booleans, None, lists, and dicts with any plain key.

    Raises `FileNotFoundError`, and `UserError` for everything else.
    """
    try:
        with SafePath(path).open_binary() as file:
            content = file.read(MOST_BYTES + 1)
    except UnsafePath as unsafe:
        if unsafe.reason == MISSING:
            raise FileNotFoundError(path) from None
        raise UserError(f"{path} can't be read ({unsafe.reason}): name a YAML file") from None
    return parse_yaml(content, str(path))


def parse_yaml(content: str | bytes, name: str, most_bytes: int = MOST_BYTES) -> Any:
    """Parses YAML like `read_yaml`. Error messages call it `name`."""
    if len(content) > most_bytes:
        raise UserError(f"{name} is larger than {most_bytes >> 10} KiB: no file of its kind is")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text: save it as UTF-8") from None
    if marker := CONFLICT_MARKER.search(text):
        line = text.count("\n", 0, marker.start()) + 1
        raise UserError(f"{name} holds Git's conflict markers (line {line}): resolve the merge")
    try:
        # ruamel reads YAML 1.2 as DVC does: 1e-4 is a number, `no` is text.
        _check_size(YAML(typ="safe", pure=True).parse(text), name)
        values = YAML(typ="safe", pure=True).load(text)
    except UserError:
        raise
    except Exception as error:
        # A tag such as !!bool passes any text to Python's own constructors, each with its own exceptions.
        raise UserError(f"{name} is not valid YAML{_place(error)}: {_reason(error)}") from None
    _check_plain(values, name)
    return values


def _check_size(events: Iterable[Event], name: str) -> None:
    """Checks the size before any object is created: an alias counts as its value, which merge keys copy."""
    anchors: set[str] = set()
    size_of: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    size = 0
    for event in events:
        anchor, before = event.anchor if isinstance(event, NodeEvent) else None, size
        size += 1
        if anchor is not None and not isinstance(event, AliasEvent):
            if anchor in anchors:
                raise UserError(f"{name} gives two values the anchor &{anchor}: rename one")
            anchors.add(anchor)
        if isinstance(event, AliasEvent):
            if any(anchor == opened for opened, _ in open_anchors):
                raise UserError(f"{name} has an alias *{anchor} inside of what it stands for: write it out")
            size += size_of.get(anchor or "", 0)
        elif isinstance(event, ScalarEvent):
            size += len(event.value)
            size_of |= {anchor: size - before} if anchor else {}
        elif isinstance(event, CollectionStartEvent):
            open_anchors.append((anchor, before))
        elif isinstance(event, CollectionEndEvent):
            opened, before = open_anchors.pop()
            size_of |= {opened: size - before} if opened else {}
        if len(open_anchors) > DEEPEST:
            raise UserError(f"{name} is nested deeper than {DEEPEST} levels: no file of parameters is")
        if size > MOST_EXPANDED:
            raise UserError(f"{name} is too large where its aliases are written out: use fewer")


def _check_plain(values: Any, name: str) -> None:
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int) and value.bit_length() > MOST_BITS:
            # Python refuses to write such numbers in decimals, in which a message or a comparison shows them.
            raise UserError(f"{name} holds a whole number of more than {MOST_BITS // 4} digits")
        elif not isinstance(value, PLAIN):
            raise UserError(
                f"{name} holds a {type(value).__name__}, such as {str(value)[:40]!r}: write text, in quotes "
                "where it looks like a date, or a number, a list or a map"
            )


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark is not None else ""


def _reason(error: Exception) -> str:
    if isinstance(error, YAMLError):
        return str(getattr(error, "problem", None) or first_line(error))
    return f"a value is none of its kind, such as a date of a 13th month ({first_line(error)[:100]})"
