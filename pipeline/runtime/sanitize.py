"""Escaping of untrusted strings for where they are shown. HTML is escaped by its templates.

Characters that control a terminal, change the direction of writing or are invisible are shown as `\\x1b` or
`\\u202e`: everything that Unicode does not call printable, and blank characters.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$]|:(?=//)|(?<=[wW]{3})\.)")
"""Special characters of Markdown, and those with which hosts turn bare addresses into links."""
_MARKDOWN_BLOCK = re.compile(r"^(\d{0,9})([.)](?=\s|$)|#(?=#{0,5}(?:\s|$))|[-+](?=\s|$)|[-=](?=[-=]*$))")
"""Start of a line that makes it a heading, a list, a rule, or the line before it a heading."""
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0]")
"""Blank characters that Unicode calls printable, such as fillers. Variation selectors such as U+FE0F stay."""
_FORMULA_STARTS = frozenset("=+-@")
_BEFORE_A_FORMULA = re.compile(r"^[\s\"']*")
_PLAIN_VALUE = re.compile(r"(?!(?:null|true|false|yes|no|on|off|nan|inf)$)[a-z_]+")
"""Texts that a shell, Hydra and YAML take as they are, such as the name of a method."""
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_FORMULA_WITHIN = re.compile("([;|][\\s\"']*)([=+@\\-\uff1d\uff0b\uff20\uff0d\ufe62\ufe63\ufe66\ufe6b])")
"""Formula signs after a character that some spreadsheets read as the end of a cell."""


LONGEST_VALUE = 200
"""Characters of a value that a message quotes."""


def shortened(text: str, longest: int) -> str:
    """Removes the middle of a longer text: an untrusted name may have megabytes."""
    if len(text) <= longest:
        return text
    kept = (longest - 5) // 2
    return f"{text[:kept]} ... {text[-kept:]}"


def is_plain(text: str) -> bool:
    """Returns whether all characters are shown as they are."""
    return text.isprintable() and not _UNSEEN.search(text)


def for_terminal(text: str) -> str:
    """Returns `text` as one line without anything that controls a terminal or the direction of writing."""
    return text if is_plain(text) else "".join(map(_visible, text))


def for_markdown(text: str) -> str:
    """Returns `text` as one line that Markdown and its HTML show verbatim."""
    line = for_terminal(" ".join(text.split()))
    html_safe = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_BLOCK.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", html_safe))


def for_html(text: str) -> str:
    """Returns `text` without characters that change the direction of the surrounding text; keeps lines."""
    return text if is_plain(text) else "".join(c if c in "\n\t\xa0\u2060" else _visible(c) for c in text)


def for_json(text: str) -> str:
    """Escapes what is not printable in the strings of a JSON text, in JSON's way; keeps lines."""
    if is_plain(text):
        return text
    return "".join(c if is_plain(c) or c == "\n" else _json_escape(c) for c in text)


def for_spreadsheet(text: str) -> str:
    """Returns `text` as a cell that no spreadsheet reads as a formula; `from_spreadsheet` undoes it.

    An apostrophe precedes the start of a formula. Within a cell, where another separator could end the cell,
    the start is escaped.
    """
    cell = for_terminal(_ESCAPE.sub(lambda found: f"\\x5c{found[0][1:]}", text))
    cell = _FORMULA_WITHIN.sub(lambda found: found[1] + _escape(found[2]), cell)
    return f"'{cell}" if cell.startswith("'") or _starts_a_formula(cell) else cell


def from_spreadsheet(cell: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), cell.removeprefix("'"))


def for_utf8(text: str) -> str:
    """Returns a file name whose bytes are not UTF-8 as text that can be stored."""
    return text.encode("utf-8", "backslashreplace").decode()


def _visible(letter: str) -> str:
    return letter if is_plain(letter) else _escape(letter)


def _escape(letter: str) -> str:
    number = ord(letter)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _starts_a_formula(cell: str) -> bool:
    """Returns whether a cell starts a formula, also by a full-width sign, which some spreadsheets accept."""
    first = cell[_BEFORE_A_FORMULA.match(cell).end() :][:1]  # type: ignore[union-attr]
    return unicodedata.normalize("NFKC", first)[:1] in _FORMULA_STARTS


def for_override(key: str, values: Iterable[str]) -> str:
    """Returns the option that sets the list `key` to `values`, quoted for a shell: `-S 'a.b=["x","y"]'`.

    It follows `dvc exp run`. Any text passes unchanged through the shell, Hydra's grammar and its
    interpolation.
    """
    listed = ",".join(map(_in_hydra, values))
    return f"-S {shlex.quote(f'{key}=[{listed}]')}"


def for_value(key: str, value: object) -> str:
    """Returns the same option for one value: `-S a.b=4`, `-S 'a.b="x y"'`."""
    if isinstance(value, str) and not _PLAIN_VALUE.fullmatch(value):
        return f"-S {shlex.quote(f'{key}={_in_hydra(value)}')}"
    return f"-S {key}={value if isinstance(value, str) else json.dumps(value)}"


def _in_hydra(text: str) -> str:
    # Backslashes are special only before a quote, where two stand for one.
    quoted = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), text)
    return f'"{quoted}"'.replace("${", "\\${")
