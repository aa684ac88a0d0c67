"""Matplotlib figures as inline SVG whose colours follow the theme of the page.

Figures are drawn in placeholder colors that occur nowhere else. These are then replaced by CSS variables, so
that one SVG serves light, dark and print. Text remains text, so it can be read aloud, searched and scaled.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from markupsafe import Markup

from pipeline.presentation.plotting import Axes, Figure, styled
from pipeline.runtime.sanitize import for_html

COLOURS = {
    name: f"#{index:02x}{index:02x}{index + 1:02x}"
    for index, name in enumerate(
        ["ink", "muted", "line", "surface", "chosen", "untrained", "start", "instance", "label", "accent"], 1
    )
}
"""Placeholder colours by the name of the CSS variable that replaces them."""

WIDTH, HEIGHT = 4.9, 3.3
"""Inches of 72 units. At 350 CSS pixels, a unit is a pixel, so text of 10.5 units is readable on a phone."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clinfonce",
    "text.parse_math": False,
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.unicode_minus": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
}

_TAG = re.compile(r"(<[^>]*>)")
"""In matplotlib's SVG, texts and attributes hold `<` and `>` only as entities."""


@contextmanager
def drawing(height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """Yields a figure with one axes in the report's style; draw and call `inline_svg` inside the block."""
    with styled(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        yield figure, axes


def inline_svg(
    figure: Figure,
    name: str,
    title: str,
    description: str,
    tooltips: Mapping[str, Sequence[str]] | None = None,
) -> Markup:
    """Returns the figure as an `<svg>` element; escapes the texts. `name` must be unique on the page.

    `tooltips` maps the gid of a line with markers to a text for each marker.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The text is drawn in the browser's fonts, so glyphs that matplotlib's font lacks do not matter.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    head = re.search(r'<svg[^>]*viewBox="([^"]+)"[^>]*>', drawn)
    assert head is not None, "matplotlib writes a viewBox"
    body = drawn[head.end() :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    # Texts, between the tags, may hold untrusted names and stay as they are.
    parts = [_themed(part, name) if part.startswith("<") else part for part in _TAG.split(body)]
    for group, texts in (tooltips or {}).items():
        _add_tooltips(parts, f'id="{name}-{group}"', texts)
    body = "".join(parts)
    return Markup(  # noqa: S704 - matplotlib escapes the texts of its figures, the rest is escaped here
        f'<svg class="chart" viewBox="{head.group(1)}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>{body}'
    )


def _themed(tag: str, name: str) -> str:
    """Returns the tag with ids that start with `name`, the page's fonts, and CSS variables for colors."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font: (\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", tag)
    for variable, placeholder in COLOURS.items():
        tag = tag.replace(placeholder, f"var(--{variable})")
    return tag


def _add_tooltips(parts: list[str], start: str, texts: Sequence[str]) -> None:
    """Adds a `<title>` to each marker after the tag with `start`; matplotlib writes a `<use>` per marker."""
    if not texts:
        return
    first = next(index for index, part in enumerate(parts) if part.startswith("<") and start in part)
    markers = (index for index in range(first, len(parts)) if parts[index].startswith("<use "))
    for index, text in zip(markers, texts, strict=False):
        parts[index] = f"{parts[index].removesuffix('/>')}><title>{escape(for_html(text))}</title></use>"
