"""`ingest.columns`: maps records of user tables to rows of a source."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pipeline.config.ingest import CONVENTIONAL_COLUMNS, ColumnMap
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow, SplitWord
from pipeline.sources.reading.split_names import split_of_cell
from pipeline.tables.cells import (
    LONGEST_TEXT,
    TOO_LONG,
    Notices,
    NotOneValue,
    TooLarge,
    as_written,
    noted,
    text,
)
from pipeline.tables.hashtags import hashtags_of
from pipeline.tables.records import Record
from pipeline.untrusted.safe_paths import SafePath

_WITHOUT = {
    "label": "(ingest.columns.label): the images have no label",
    "split": "(ingest.columns.split): a split is made",
    "hashtags": "(ingest.columns.hashtags): the images have no hashtags",
}
"""The consequence of a missing conventional column, and the parameter to name another one."""
_NEAR_NAMES = {
    "label": {"labels", "class", "classes", "category", "target", "cls"},
    "split": {"splits", "subset", "partition", "fold"},
    "hashtags": {"hashtag", "tags", "tag", "keywords"},
    "text": {"text", "texts", "caption", "captions", "title", "description"},
}
"""Likely names of a role. They become attributes, not guesses, and a note points to the parameter."""
_MUST_SAY = "and must say train, test or validation"
NO_VALUES = "columns of lists, objects and bytes are no attributes"
NOT_ONE_VALUE = "cells of attributes and the hierarchy hold a list, an object or bytes: they are left out"


@dataclass(frozen=True)
class Columns:
    """The column map, checked against the columns of the table."""

    image: str
    label: str | None
    split: str | None
    hashtags: str | None
    text: str | None
    attributes: list[str]
    hierarchy: list[str]
    notices: Notices = field(default_factory=Notices, compare=False)
    """Notices about the rows read so far."""

    def used(self) -> set[str]:
        named = {
            *(self.image, self.label, self.split, self.hashtags, self.text),
            *self.attributes,
            *self.hierarchy,
        }
        return {name for name in named if name is not None}

    def notes(self) -> list[str]:
        return noted(self.notices)


@dataclass(frozen=True)
class TableDescription:
    """Phrases for the table in messages."""

    has: str
    """Such as "the manifest has"."""
    place: str
    """Such as "the manifest a.csv"."""


def resolve_columns(
    requested: ColumnMap,
    present: list[str],
    table: TableDescription,
    provided: Collection[str] = (),
    left_out: Collection[str] = (),
    no_values: Sequence[str] = (),
) -> tuple[Columns, list[str]]:
    """Returns the columns, and notes on default decisions. Raises `UserError` for a missing requested column.

    A conventional column may differ in case, such as `Label`. `provided` holds the roles that do not come
    from a column, such as the image or the split; `left_out` the columns that are attributes only if
    `ingest.columns.attributes` names them; `no_values` those of lists, objects or bytes.
    """
    notes: list[str] = []
    missing: list[str] = []
    available = set(present)  # a set, as there may be 100,000
    by_plain_name = {_plain(name): name for name in reversed(present)}

    def found(role: str) -> str | None:
        """Returns the column of the role; adds a note if it has another name, or none."""
        name: str | None = getattr(requested, role)
        if name is None or name in available:
            return name
        if name == CONVENTIONAL_COLUMNS.get(role):
            if (other := by_plain_name.get(name)) is not None and role not in provided:
                notes.append(f"the column {other!r} is taken as ingest.columns.{role}")
                return other
            if role in _WITHOUT:
                if role not in provided:
                    notes.append(f"{table.has} no column {name!r} {_WITHOUT[role]}")
                return None
        missing.append(f"{name!r} (ingest.columns.{role})")
        return None

    image = requested.image if "image" in provided else found("image")
    label, split, hashtags, texts = found("label"), found("split"), found("hashtags"), found("text")
    for role in ("attributes", "hierarchy"):
        missing += [f"{n!r} (ingest.columns.{role})" for n in getattr(requested, role) if n not in available]
    if missing:
        raise UserError(
            f"there is no column {' nor '.join(missing)} in {table.place}: name one of its columns, "
            f"{listed(present)}"
        )
    used = {image, label, split, hashtags, texts, *requested.hierarchy, *left_out}
    attributes = requested.attributes or [
        name for name in present if name not in used and not _is_index(name)
    ]
    if without := [name for name in no_values if name in attributes]:
        notes.append(f"{NO_VALUES}: {listed(without)}")
        attributes = [name for name in attributes if name not in without]
    roles = {"label": label, "split": split, "hashtags": hashtags, "text": texts}
    notes += [
        f"the column {name!r} is {'an attribute' if name in attributes else 'not used'}; "
        f"if it is the {role}, set ingest.columns.{role}"
        for role, column in roles.items()
        if column is None and role not in provided
        for name in (*attributes, *(name for name in left_out if name in available))
        if _plain(name) in _NEAR_NAMES[role] and name not in requested.attributes
    ]
    assert image is not None
    return Columns(image, label, split, hashtags, texts, attributes, requested.hierarchy), notes


def _plain(name: str) -> str:
    return name.strip().casefold()


def _is_index(name: str) -> bool:
    """Returns whether the column is an index written by pandas."""
    return name == "" or name.startswith(("__index_level_", "Unnamed: "))


def row_of(
    record: Record, columns: Columns, where: str, path: str, image: bytes | SafePath, id: str | None = None
) -> SourceRow | Refusal:
    """Returns the row of `record`; its id defaults to the path."""
    notices = columns.notices
    try:
        split = _split(record.get(columns.split)) if columns.split else None
        label = _cell(record, columns.label, "label", notices)
        hashtags = _hashtags(record.get(columns.hashtags), notices) if columns.hashtags else []
        written = _text(record.get(columns.text), notices) if columns.text else None
        attributes = {name: _value(record.get(name), notices) for name in columns.attributes}
        above = (_value(record.get(name), notices) for name in columns.hierarchy)
        # Levels below a gap have no place in the tree.
        hierarchy = [name for name in takewhile(bool, above) if name]
    except (_Unusable, TooLarge) as unusable:
        return Refusal(where, str(unusable))
    return SourceRow(
        id=id or path,
        image=image,
        path=path,
        label=label,
        split=split,
        hashtags=hashtags,
        text=written,
        attributes=attributes,
        hierarchy=hierarchy,
        where=where,
    )


class _Unusable(ValueError):
    """Raised for a cell for which the row is refused; the message is the reason."""


def path_in(record: Record, columns: Columns) -> str | Refusal:
    """Returns the path of the image as written, or a refusal without a place if the cell holds none."""
    try:
        path = as_written(record.get(columns.image))
    except NotOneValue as what:
        return Refusal("", f"the image is {what}, and must be one text or number")
    except TooLarge as large:
        return Refusal("", str(large))
    return path if path is not None else Refusal("", f"the cell of column {columns.image!r} is empty")


def _cell(record: Record, column: str | None, role: str, notices: Notices) -> str | None:
    if column is None:
        return None
    try:
        return text(record.get(column), notices)
    except NotOneValue as what:
        raise _Unusable(f"the {role} is {what}, and must be one text or number") from None


def _split(cell: Any) -> SplitWord:
    try:
        written = text(cell)
    except NotOneValue as what:
        raise _Unusable(f"the split is {what}, and must be one text") from None
    if written is None:
        raise _Unusable(
            f"the split is an empty cell, {_MUST_SAY} (fill it, or set ingest.columns.split=null)"
        )
    split = split_of_cell(written)
    if split is None:
        raise _Unusable(f"the split is {written!r}, {_MUST_SAY}")
    return split


def _hashtags(cell: Any, notices: Notices) -> list[str]:
    try:
        return hashtags_of(cell, notices)
    except NotOneValue as what:
        raise _Unusable(f"the hashtags hold {what}, and must be texts or have a text or name") from None


def _text(cell: Any, notices: Notices) -> str | None:
    """Returns the text of a cell; a list of captions becomes one text, a caption per line."""
    parts = cell if isinstance(cell, list) else [cell]
    try:
        lines = [line for part in parts if (line := text(part, notices)) is not None]
    except NotOneValue as what:
        raise _Unusable(f"the text is {what}, and must be a text or a list of texts") from None
    joined = "\n".join(lines)
    if len(joined) > LONGEST_TEXT:
        raise TooLarge(TOO_LONG)
    return joined or None


def _value(cell: Any, notices: Notices) -> str | None:
    try:
        return text(cell, notices)
    except NotOneValue:
        notices[NOT_ONE_VALUE] += 1
        return None
