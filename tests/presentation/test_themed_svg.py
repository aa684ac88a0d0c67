import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.presentation.label_placement import spread
from pipeline.presentation.themed_svg import COLOURS, drawing, inline_svg


def picture(name: str = "one", text: str = "plain", title: str = "A title") -> str:
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], "o-", color=COLOURS["chosen"])
        axes.annotate(text, (0.5, 0.5), color=COLOURS["ink"])
        return str(inline_svg(figure, name, title, "what it shows"))


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))  # noqa: S314


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert picture() == picture()


def test_colours_follow_the_theme() -> None:
    svg = picture()
    assert "var(--chosen)" in svg
    left = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert not left, f"colours that no theme can change: {left}"


def test_names_do_not_clash_on_one_page() -> None:
    ids = [re.findall(r'\bid="([^"]+)"', picture(name)) for name in ("one", "two")]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    assert len(set(ids[0])) == len(ids[0])
    svg = picture("one")
    for target in re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg):
        assert target in ids[0]


def test_it_names_itself_to_a_screen_reader() -> None:
    root = parsed(picture(title="Loss <per> epoch"))
    assert root.get("role") == "img"
    by_id = {element.get("id"): element.text for element in root.iter()}
    assert [by_id[i] for i in (root.get("aria-labelledby") or "").split()] == [
        "Loss <per> epoch",
        "what it shows",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("<img src=x onerror=alert(1)>", "</script>", "$x_1$", "$unclosed", "шапка 帽子", "a&b", "-->"),
        *(
            "font: 9px x",
            "#010102",
            'id="x',
            'href="#x',
            "url(#x)",
            "var(--ink)",
            'id="one-points"',
            "<use />",
        ),
    ],
)
def test_text_stays_text(text: str) -> None:
    with drawing() as (figure, axes):
        axes.set_title(text)
        (line,) = axes.plot([0, 1], [0, 1], "o-")
        line.set_gid("points")
        axes.annotate(text, (0.5, 0.5), color=COLOURS["ink"])
        root = parsed(str(inline_svg(figure, "one", text, text, {"points": [text, text]})))
    texts = [
        "".join(element.itertext()) for element in root.iter() if element.tag.rpartition("}")[2] == "text"
    ]
    assert texts.count(text) == 2
    (points,) = (element for element in root.iter() if element.get("id") == "one-points")
    markers = [element for element in points.iter() if element.tag.endswith("use")]
    assert ["".join(marker.itertext()) for marker in markers] == [text, text]


@given(st.lists(st.floats(-10, 10), max_size=8), st.floats(0.01, 3))
def test_spread_keeps_order_and_distance(positions: list[float], gap: float) -> None:
    moved = spread(positions, gap)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    for one, other in pairwise(order):
        assert moved[other] - moved[one] >= gap - 1e-9
    if all(abs(a - b) >= gap for i, a in enumerate(positions) for b in positions[:i]):
        assert moved == pytest.approx(positions)
    assert sum(moved) == pytest.approx(sum(positions), abs=1e-6)
