"""JSON from untrusted sources: every failure raises the same exception."""

import json
from collections import Counter
from typing import Any

from pipeline.runtime.sanitize import shortened

DEEPEST = 100
"""Maximum nesting of lists and objects. Code that walks through a value recurses as often, and Python limits
recursion to a thousand calls."""
LONGEST_KEY = 100
"""Maximum number of characters in a message."""


class NotJson(ValueError):
    """Raised for text that is not JSON, or not usable; the message says why."""


class RepeatedKey(dict[str, Any]):
    """An object in which a key occurs more than once, with the last value of each.

    Its reader decides which one is meant, or refuses it.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = Counter(key for key, _ in pairs)
        self.key = next(key for key in keys if keys[key] > 1)

    @property
    def reason(self) -> str:
        return f"the key {shortened(self.key, LONGEST_KEY)!r} stands more than once in the object"


def parse_json(text: str | bytes) -> Any:
    """Parses `text`.

    NaN and Infinity are numbers, as Python's own `json` writes them. An object in which a key occurs more
    than once is a `RepeatedKey`. Raises `NotJson` for everything that `json.loads` refuses, and for a value
    that is nested deeper than `DEEPEST`. The caller limits the size of `text`.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else RepeatedKey(pairs)


def _may_be_deep(text: str | bytes) -> bool:
    """Returns whether the value may be too deep; much faster than checking the value, and rarely true."""
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
