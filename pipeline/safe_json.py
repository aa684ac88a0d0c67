"""JSON that strangers wrote: every way in which it can fail is one exception."""

import json
from typing import Any

DEEPEST = 100
"""Lists and objects in each other. Whatever walks through a value calls itself as often, and Python ends
that at a thousand calls."""


class NotJson(ValueError):
    """Text that is no JSON, or none that can be used; the message is why."""


def parse_json(text: str | bytes) -> Any:
    """The value that `text` holds. NaN and Infinity are numbers, as Python's own `json` writes them.

    Raises `NotJson` for everything that `json.loads` ends at, and for a value that is nested deeper than
    `DEEPEST`. The size of `text` is for its reader to bound.
    """
    try:
        value = json.loads(text)
    except (RecursionError, MemoryError):
        raise NotJson("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise NotJson("it is not UTF-8 text") from None
    except ValueError:
        raise NotJson("it holds a number of thousands of digits") from None
    if _may_be_deep(text) and _is_deep(value):
        raise NotJson("it is nested too deep")
    return value


def _may_be_deep(text: str | bytes) -> bool:
    """Far quicker than looking at the value, and true of few."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{") > DEEPEST
    return text.count("[") + text.count("{") > DEEPEST


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [part for parts in map(_parts, level) for part in parts]
        if not level:
            return False
    return True


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
