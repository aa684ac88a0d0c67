"""The comparison as a table for other programs, spreadsheets among them."""

import re
from typing import Any

from pipeline.compare.experiments import FIGURES, Comparison, differing

FORMULAS = ("=", "+", "-", "@", "\t")
"""A spreadsheet runs a text cell that begins so (OWASP, CSV injection)."""


def csv_table(comparison: Comparison) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows, one an experiment; the parameters are those that differ."""
    keys = differing(comparison.experiments)
    fixed = ["experiment", "rev", "images", "method", *FIGURES, "gap_closed", "epochs", "train_images"]
    rows = [
        {"experiment": e.name, "rev": e.rev, "images": e.images, "method": e.method}
        | dict(e.figures)
        | {"gap_closed": e.gap_closed, "epochs": e.params.get("pretrain.epochs")}
        | {"train_images": e.train_images}
        | {key: e.params.get(key) for key in keys}
        for e in comparison.experiments
    ]
    return [*fixed, *keys], [{key: safe(value) for key, value in row.items()} for row in rows]


def safe(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, which it shows as text."""
    if not isinstance(value, str):
        return value
    # A line's end within a cell would begin a row of its own in readers that do not know quotes.
    line = re.sub(r"[\r\n]+", " ", value)
    return f"'{line}" if line.lstrip(" ").startswith(FORMULAS) else line
