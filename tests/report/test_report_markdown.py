import re

import pytest
from markdown_it import MarkdownIt

from pipeline.presentation.markdown import escaped, table
from pipeline.presentation.tables import Cell, Column, Table

STRANGE = [
    "<img src=x onerror=alert(1)>", "</script>", "a|b", "**bold**", "_x_", "[a](javascript:b)", "`code`",
    "back\\slash", "\\|", "&lt;", "~~gone~~", "line\nbreak", "![i](u)", "*",
]  # fmt: skip


@pytest.mark.parametrize("text", STRANGE)
def test_a_cell_shows_its_text_letter_by_letter(text: str) -> None:
    shown = Table("C", [Column("A"), Column("B", True)], [[Cell(text), Cell("1")]])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(table(shown))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html, flags=re.DOTALL)
    unescaped = [
        c.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
        for c in cells
    ]
    assert unescaped == [" ".join(text.split()), "1"]


def test_escaped_text_is_one_line() -> None:
    assert "\n" not in escaped("a\n\n# b\r\nc")
