"""The comparison as a table for other programs, such as spreadsheets."""

import re
from typing import Any

from pipeline.experiments.experiment import FIGURES, Comparison, differing
from pipeline.storage.schema import Baselines

GAP = ("gap_closed", "gap_closed_low", "gap_closed_high")
BASELINES = tuple(Baselines.__annotations__)


def csv_table(comparison: Comparison) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns columns and rows, one row per experiment; only parameters that differ are included."""
    keys = differing(comparison.experiments)
    fixed = ["experiment", "rev", "images", "images_hash", "method", *FIGURES, *GAP, *BASELINES]
    fixed += ["epochs", "train_images"]
    rows = [
        {"experiment": e.name, "rev": e.rev, "images": e.images}
        | {"images_hash": e.images_hash, "method": e.method}
        | dict(e.figures)
        | dict(zip(GAP, (e.gap_closed, *(e.gap_closed_interval or (None, None))), strict=True))
        | dict(e.baselines or dict.fromkeys(BASELINES))
        | {"epochs": e.params.get("pretrain.epochs")}
        | {"train_images": e.train_images}
        | {key: e.params.get(key) for key in keys}
        for e in comparison.experiments
    ]
    return [*fixed, *keys], [{key: on_one_line(value) for key, value in row.items()} for row in rows]


def on_one_line(value: Any) -> Any:
    """Replaces line breaks in a cell, which begin a new row in readers that do not support quotes."""
    return re.sub(r"[\r\n]+", " ", value) if isinstance(value, str) else value
