"""Numbers and names as people read them. Signs are typographic; fractions become percentages."""

import math

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""

MUTUAL_INFORMATION = "mutual information in bits: the information that the cluster Z holds about the label T"
CONDITIONAL_ENTROPY = "conditional entropy in bits: what the clusters split beyond the labels"
ADJUSTED_MUTUAL_INFORMATION = "adjusted mutual information, 0 at chance and 1 where clusters are the labels"


def percent(fraction: float | None, digits: int = 1) -> str:
    return NOTHING if missing(fraction) else f"{_signed_off(100 * float(fraction or 0), digits)} %"


def points(fraction: float | None, digits: int = 1, signed: bool = True) -> str:
    """A difference of two fractions, in percentage points."""
    if missing(fraction):
        return NOTHING
    text = _signed_off(100 * float(fraction or 0), digits)
    return f"+{text}" if signed and not text.startswith(MINUS) and float(text) != 0 else text


def interval_text(low: float | None, high: float | None) -> str:
    """Two fractions as percentages, without the sign."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.1f}\N{EN DASH}{100 * high:.1f}"


def number(value: float | None, digits: int = 2) -> str:
    return NOTHING if missing(value) else _signed_off(float(value or 0), digits)


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
    """`text` with a full stop at its end and a capital at its start."""
    text = text.strip()
    closed = text if text.endswith((".", "!", "?")) else f"{text}."
    return closed[:1].upper() + closed[1:]


def missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _signed_off(value: float, digits: int) -> str:
    """Rounds, without a negative zero, and with a minus that is as wide as a plus."""
    text = f"{value:.{digits}f}"
    return f"{abs(float(text)):.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)
