from hypothesis import given
from hypothesis import strategies as st

from pipeline.escaping import for_spreadsheet, for_terminal, for_utf8


@given(st.text())
def test_nothing_steers_the_terminal(text: str) -> None:
    shown = for_terminal(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@given(st.text(alphabet="=+-@\t\r\n '1a", max_size=6))
def test_no_cell_starts_a_formula(text: str) -> None:
    cell = for_spreadsheet(text)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'").endswith(text.removeprefix("'"))


def test_a_name_that_is_not_utf_8_can_be_stored() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert for_utf8(name) == r"caf\udce9.png"
    assert for_utf8("café") == "café"
