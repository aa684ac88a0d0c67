import json
import re
from html import escape, unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.runtime.sanitize import (
    for_html,
    for_json,
    for_markdown,
    for_spreadsheet,
    for_terminal,
    for_utf8,
    from_spreadsheet,
)

ANY = st.text(st.characters(codec=None), max_size=20)
"""Half characters too, as JSON can hold them."""


@given(ANY)
def test_nothing_steers_the_terminal(text: str) -> None:
    shown = for_terminal(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("zero\u200bwidth\u00ad", r"zero\u200bwidth\xad"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("half\ud800", r"half\ud800"),
        ("\u3164blank\u2800\u115f", r"\u3164blank\u2800\u115f"),
        ("one\ntwo\u2028three", r"one\x0atwo\u2028three"),
        ("日本語 é 👍", "日本語 é 👍"),
    ],
)
def test_what_is_not_seen_is_shown(text: str, shown: str) -> None:
    assert for_terminal(text) == shown
    assert for_markdown(text).isprintable()
    assert for_html(text).replace("\n", "").isprintable()
    assert json.loads(for_json(json.dumps([text], ensure_ascii=False))) == [text]


@given(ANY)
def test_json_comes_back_whatever_it_holds(text: str) -> None:
    written = for_json(json.dumps({"a": [text]}, ensure_ascii=False, indent=1))
    assert json.loads(written) == {"a": [text]}
    assert written.replace("\n", "").isprintable()


@given(ANY)
def test_a_cell_comes_back_whatever_it_holds(text: str) -> None:
    cell = for_spreadsheet(text)
    assert cell.isprintable()
    assert from_spreadsheet(cell) == text


@given(st.text(alphabet="=+-@\uff1d\uff0b\uff0d\uff20\t\r\n \u3000\ufeff\u200b\"'1a;|\\x3d", max_size=8))
def test_no_cell_starts_a_formula(text: str) -> None:
    cell = for_spreadsheet(text)
    assert not cell.lstrip(' \u3000"').startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    for separator in ";|\t":
        for part in cell.split(separator)[1:]:
            assert not part.lstrip(" \u3000\"'").startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    assert from_spreadsheet(cell) == text


@given(st.text(alphabet="ab<>&*_[]|`\x1b\u202e\n ", max_size=12))
def test_markdown_shows_letter_by_letter(text: str) -> None:
    line = for_markdown(text)
    assert "<" not in line
    assert "\n" not in line
    plain = unescape(line).replace("\\", "")
    assert plain == for_terminal(" ".join(text.split())).replace("\\", "")


@pytest.mark.parametrize("text", ["https://example.org/a", "see http://a.b", "ftp://x", "www.example.org"])
def test_no_host_makes_a_link_of_an_address_in_markdown(text: str) -> None:
    """They look for `://` and `www.` where neither sign is escaped."""
    line = for_markdown(text)
    assert not re.search(r"(?<!\\)://|www\.", line)
    assert MarkdownIt().render(line) == f"<p>{text}</p>\n"


@pytest.mark.parametrize("text", ["_www.a.org", "x __www.a.org/?q", "*www.a.org", "~www.a.org", "(Www.a.org"])
def test_no_character_before_an_address_makes_it_a_link(text: str) -> None:
    assert not re.search(r"(?i)www\.", for_markdown(text))


@pytest.mark.parametrize("before", ["", "- ", "before\n"])
@pytest.mark.parametrize(
    "text",
    [
        *("# heading", "#", "###### six", "1. list", "1.", "999999999) list", "- list", "-", "+ list", "+"),
        *("---", "===", "=", "- - -", "* list", "***", "___", "> quote", "```", "~~~", "| a |", "    code"),
    ],
)
def test_no_text_starts_a_block_of_markdown(text: str, before: str) -> None:
    parser = MarkdownIt().enable("table")
    paragraph = parser.render(f"{before}x")
    line = for_markdown(text)
    expected = escape(text.strip(), quote=False)
    assert parser.render(f"{before}{line}") == paragraph.replace("x", expected)


@pytest.mark.parametrize("text", ["-0.5", "1.5", "#tag", "+1", "1.x", "a - b", "=1"])
def test_numbers_and_tags_stay_readable_in_markdown(text: str) -> None:
    assert for_markdown(text) == text


def test_a_name_that_is_not_utf_8_can_be_stored() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert for_utf8(name) == r"caf\udce9.png"
    assert for_utf8("café") == "café"
