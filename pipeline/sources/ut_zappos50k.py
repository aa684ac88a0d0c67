"""Source `ut_zappos50k`: UT-Zappos50K as published by its authors.

    ut-zap50k-data/meta-data.csv       CID,Category,SubCategory,HeelHeight,...,Material,ToeStyle
    ut-zap50k-data/meta-data-bin.csv   the same as columns of 0 and 1, such as Material.Suede
    ut-zap50k-images/<Category>/<SubCategory>/<Brand>/<CID, with a dot for its hyphen>.jpg

or `ut-zap50k-images-square`. Folder names differ from the table in spaces and punctuation, so images are
found by file name; only .jpg files are read.
"""

import os
from collections.abc import Iterator
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.class_folders import files_below
from pipeline.sources.reading.expected_files import find_first, named_folder
from pipeline.storage.schema import NO, YES
from pipeline.tables.delimited import Head, csv_records, read_head
from pipeline.tables.lines import NotARow, open_text
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.walk import Walk

WHAT = "the folder that holds ut-zap50k-data and ut-zap50k-images"
IMAGES_AT = ["ut-zap50k-images-square", "ut-zap50k-images"]
DATA_AT = ["ut-zap50k-data", "ut-zap50k-images-square/ut-zap50k-data", "ut-zap50k-images/ut-zap50k-data"]
ANSWERS = "meta-data-bin.csv"
LABEL_COLUMNS = ("CID", "Category", "SubCategory")
LABEL_PREFIXES = ("Category.", "SubCategory.")
CODE_OF = {"0": 0, "1": 1}
NOT_KNOWN = 2
CELLS = (NO, YES, None)
"""The cells by code."""


class UtZappos50kSource:
    """Label: the sub-category; hierarchy: category, sub-category; no split, no hashtags.

    The 126 attributes are the columns of meta-data-bin.csv as yes and no, without those of category and
    sub-category, which are the label. Without that file they are the columns of meta-data.csv, in which a
    cell with several values, such as `Men;Women`, is a distinct value.
    """

    def __init__(self, root: Root, table: SafePath, answers: SafePath | None) -> None:
        self._root = root
        self._table = table
        self._answers = answers
        header = _head(table, LABEL_COLUMNS).names
        self.attribute_names = [name for name in header if name not in LABEL_COLUMNS]
        self.notes: list[str] = []
        if answers is None:
            self.notes.append(f"{table.path.parent} holds no meta-data-bin.csv: no attribute is binary")
        else:
            names = _head(answers, ("CID",)).names
            self.attribute_names = [n for n in names if n != "CID" and not n.startswith(LABEL_PREFIXES)]

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        folder = named_folder(params, WHAT)
        data = folder.below(find_first(folder, DATA_AT, params))
        images = folder.bounded(find_first(folder, IMAGES_AT, params))
        return cls(
            images,
            data.at(find_first(data, ["meta-data.csv"], params)),
            data.at(ANSWERS) if data.has(ANSWERS) else None,
        )

    def rows(self) -> Iterator[SourceRow | Refusal]:
        found: dict[str, list[str]] = {}
        for path in files_below(Walk(self._root)):
            if isinstance(path, Refusal):
                yield path
            elif path.lower().endswith(".jpg"):
                found.setdefault(os.path.basename(path), []).append(path)
        binary = self._binary_attributes() if self._answers else None
        for where, record in _records(self._table):
            if isinstance(record, NotARow):
                yield Refusal(where, record.reason)
            else:
                yield self._row(where, record, found, binary)
        for path in sorted(path for paths in found.values() for path in paths):
            yield Refusal(path, f"{self._table.name} has no row for the image")

    def _row(
        self,
        where: str,
        record: dict[str, str | None],
        found: dict[str, list[str]],
        binary: dict[str, bytes] | None,
    ) -> SourceRow | Refusal:
        """Returns the row of an image, which is removed from `found`."""
        shoe = record["CID"] or ""
        name = f"{shoe.replace('-', '.')}.jpg"
        paths = found.pop(name, [])
        if len(paths) != 1:
            reason = f"{len(paths)} files of its name" if paths else "no file of its name"
            return Refusal(where, f"{reason} ({name}) below {self._root.folder.name}")
        if binary is not None and shoe not in binary:
            return Refusal(where, "meta-data-bin.csv has no row for the image")
        attributes = {name: record.get(name) for name in self.attribute_names}
        if binary is not None:
            attributes = {
                name: CELLS[code] for name, code in zip(self.attribute_names, binary[shoe], strict=True)
            }
        levels = [record["Category"], record["SubCategory"]]
        return SourceRow(
            id=shoe,
            image=self._root.at(paths[0]),
            path=paths[0],
            label=record["SubCategory"],
            attributes=attributes,
            hierarchy=[level for level in levels if level] if record["Category"] else [],
            where=where,
        )

    def _binary_attributes(self) -> dict[str, bytes]:
        """Returns one code per attribute, by the CID of the shoe."""
        assert self._answers is not None
        return {
            record["CID"] or "": bytes(
                CODE_OF.get(record[name] or "", NOT_KNOWN) for name in self.attribute_names
            )
            for _, record in _records(self._answers)
            if not isinstance(record, NotARow)
        }


def _head(table: SafePath, needed: tuple[str, ...]) -> Head:
    head = read_head(table, str(table))
    missing = [name for name in needed if name not in head.names]
    if missing:
        raise UserError(
            f"{table} must have the column {listed(missing)}, and has "
            f"{listed(head.names, 9) or 'no header'}: take the published file"
        )
    return head


def _records(table: SafePath) -> Iterator[tuple[str, dict[str, str | None] | NotARow]]:
    """Yields each row with its place; None for empty cells."""
    with open_text(table) as file:
        for line, record in csv_records(file, _head(table, ())):
            where = f"{table.name} line {line}"
            if isinstance(record, NotARow):
                yield where, record
            else:
                yield where, {name: cell.strip() or None for name, cell in record.items()}
