"""Numbers and names as text, with typographic signs and fractions as percentages."""

import math

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NOTHING = "\N{EN DASH}"
"""Shown in place of a missing value."""

MUTUAL_INFORMATION = "mutual information in bits: information of the cluster Z about the label T"
CONDITIONAL_ENTROPY = "conditional entropy in bits: entropy of the clusters beyond the labels"
ADJUSTED_MUTUAL_INFORMATION = "adjusted mutual information: 0 at chance, 1 if the clusters equal the labels"


def percent(fraction: float | None, digits: int = 1) -> str:
    return NOTHING if missing(fraction) else f"{_rounded(100 * float(fraction or 0), digits)} %"


def points(fraction: float | None, digits: int = 1, signed: bool = True) -> str:
    """Formats a difference of two fractions in percentage points."""
    if missing(fraction):
        return NOTHING
    text = _rounded(100 * float(fraction or 0), digits)
    return f"+{text}" if signed and not text.startswith(MINUS) and float(text) != 0 else text


def interval_text(low: float | None, high: float | None) -> str:
    """Formats two fractions as percentages, without the percent sign."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.1f}\N{EN DASH}{100 * high:.1f}"


def number(value: float | None, digits: int = 2) -> str:
    return NOTHING if missing(value) else _rounded(float(value or 0), digits)


def count(value: float | None) -> str:
    return NOTHING if missing(value) else f"{int(value or 0):,}"


def seconds(value: float | None) -> str:
    if value is None or missing(value):
        return NOTHING
    if value < 90:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def plural(value: int, noun: str, many: str | None = None) -> str:
    return f"{count(value)} {noun if value == 1 else many or noun + 's'}"


def sentence(text: str) -> str:
    """Returns `text` with an initial capital and a full stop."""
    text = text.strip()
    closed = text if text.endswith((".", "!", "?")) else f"{text}."
    return closed[:1].upper() + closed[1:]


def missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _rounded(value: float, digits: int) -> str:
    """Formats `value` to `digits` places, with a typographic minus and without a negative zero."""
    text = f"{value:.{digits}f}"
    return f"{abs(float(text)):.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)
