"""Strangers' strings, made harmless for where they are shown. HTML is escaped by its templates."""

import re

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def for_markdown(text: str) -> str:
    """`text` as one line that Markdown and its HTML show letter by letter."""
    line = " ".join(text.split())
    html_safe = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", html_safe)


def for_terminal(text: str) -> str:
    """`text` as one line without anything that steers a terminal or turns the direction of writing."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def for_spreadsheet(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula; `from_spreadsheet` undoes it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) or text.startswith("'") else text


def from_spreadsheet(cell: str) -> str:
    return cell.removeprefix("'")


def for_utf8(text: str) -> str:
    """A file name whose bytes are no UTF-8, as text that can be stored."""
    return text.encode("utf-8", "backslashreplace").decode()
