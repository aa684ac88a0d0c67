"""`ingest.columns`: from a record of a user's table to what is known of an image."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from pipeline.errors import UserError, listed
from pipeline.ingest.params import CONVENTIONAL_COLUMNS, ColumnMap
from pipeline.safe_paths import SafePath
from pipeline.sources.base import MOST_ATTRIBUTES, Refusal, SourceRow, Split

Record = dict[str, Any]

_WITHOUT = {
    "label": "(ingest.columns.label): the images have no label",
    "split": "(ingest.columns.split): a split is made",
    "hashtags": "(ingest.columns.hashtags): the images have no hashtags",
}
"""What follows where a conventional column is not there; a column of another name can be told."""

SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


@dataclass(frozen=True)
class Columns:
    """The column map with every name checked against the table's own columns."""

    image: str
    label: str | None
    split: str | None
    hashtags: str | None
    attributes: list[str]
    hierarchy: list[str]


@dataclass(frozen=True)
class Table:
    """What a sentence says of the table whose columns are wanted."""

    has: str
    """Such as "the manifest has"."""
    place: str
    """Such as "the manifest a.csv"."""


def names_of(records: Iterable[Record]) -> list[str]:
    """The columns of `records` in the order in which they come, until there are too many to store."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(record)
        if len(names) > MOST_ATTRIBUTES:
            break
    return list(names)


def resolve_columns(
    wanted: ColumnMap,
    present: list[str],
    table: Table,
    told: Collection[str] = (),
    left_out: Collection[str] = (),
) -> tuple[Columns, list[str]]:
    """Raises `UserError` for a column that is asked for and not there; returns notes on conventional ones.

    `told` holds the roles that something other than a column tells, such as the image or the split;
    `left_out` the columns that are attributes only where `ingest.columns.attributes` names them.
    """
    notes: list[str] = []
    missing: list[str] = []
    there = set(present)  # there may be a hundred thousand

    def optional(role: str) -> str | None:
        name: str | None = getattr(wanted, role)
        if name is None or name in there:
            return name
        if name == CONVENTIONAL_COLUMNS[role]:
            if role not in told:
                notes.append(f"{table.has} no column {name!r} {_WITHOUT[role]}")
            return None
        missing.append(f"{name!r} (ingest.columns.{role})")
        return None

    if "image" not in told and wanted.image not in there:
        missing.append(f"{wanted.image!r} (ingest.columns.image)")
    label, split, hashtags = optional("label"), optional("split"), optional("hashtags")
    for role in ("attributes", "hierarchy"):
        missing += [f"{n!r} (ingest.columns.{role})" for n in getattr(wanted, role) if n not in there]
    if missing:
        raise UserError(
            f"there is no column {' nor '.join(missing)} in {table.place}: name one of its columns, "
            f"{listed(present)}"
        )
    used = {wanted.image, label, split, hashtags, *wanted.hierarchy, *left_out}
    attributes = wanted.attributes or [name for name in present if name not in used and not _is_index(name)]
    return Columns(wanted.image, label, split, hashtags, attributes, wanted.hierarchy), notes


def _is_index(name: str) -> bool:
    """Whether pandas wrote the column to number the rows."""
    return name == "" or name.startswith(("__index_level_", "Unnamed: "))


def row_of(
    record: Record, columns: Columns, where: str, path: str, image: bytes | SafePath, id: str | None = None
) -> SourceRow | Refusal:
    """The row that `record` describes; its id is its path where there is no other."""
    split_name = text(record.get(columns.split)) if columns.split else None
    if columns.split and split_name not in SPLITS:
        return Refusal(where, f"the split is {split_name!r}, and must be train or test")
    return SourceRow(
        id=id or path,
        image=image,
        path=path,
        label=text(record.get(columns.label)) if columns.label else None,
        split=SPLITS[split_name] if split_name else None,
        hashtags=split_hashtags(record.get(columns.hashtags)) if columns.hashtags else [],
        attributes={name: text(record.get(name)) for name in columns.attributes},
        # What stands below a gap can't be placed.
        hierarchy=list(takewhile(bool, (text(record.get(name)) or "" for name in columns.hierarchy))),
        where=where,
    )


def split_hashtags(cell: Any) -> list[str]:
    """A cell's hashtags: a list as it is; text is cut at `;`, else, if it starts with `#`, at spaces and
    commas, else at commas. A tag with spaces is one tag."""
    if cell is None:
        return []
    if isinstance(cell, list):
        parts = [text(part) or "" for part in cell]
    else:
        written = str(cell).strip()
        separator = ";" if ";" in written else r"[\s,]+" if written.startswith("#") else ","
        parts = re.split(separator, written)
    return [part.strip() for part in parts if part.strip()]


def text(cell: Any) -> str | None:
    """A cell as text; None for what is empty. 3.0 is "3": tables turn integers with gaps into floats."""
    if cell is None or cell != cell:
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() or None


def is_unicode(record: Record) -> bool:
    """False where bytes that are not UTF-8 were read, or half a character was escaped."""
    try:
        json.dumps(record, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True
