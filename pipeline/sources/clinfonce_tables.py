"""Source `clinfonce_tables`: images with the clusters that the authors of Cl-InfoNCE released.

    meta_data_train.csv   <number>,<a column per clustering>,class,path
    meta_data_val.csv     <number>,path,class

Paths are relative to `ingest.clinfonce_tables.images`, or else to the tables' folder. The last row of each
table holds counts: number -1, the values per column, and the number of images in place of a path.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.expected_files import find_first, named_folder
from pipeline.sources.reading.source_root import source_root
from pipeline.storage.files import resolve_user_path
from pipeline.tables.delimited import Head, csv_records, read_head
from pipeline.tables.lines import NOT_A_ROW, NotARow, open_text
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

WHAT = "the folder that holds the tables"
NUMBER, CLASS, PATH = "", "class", "path"
COUNTED = "-1"


class ClInfoNceTablesSource:
    """Label: the number of the class; split: val is test; each clustering is an attribute of the train
    images, for `cluster.method=column`; no hashtags and no hierarchy."""

    def __init__(self, root: Root, tables: dict[Split, SafePath]) -> None:
        self._root = root
        self._tables = tables
        columns = chain.from_iterable(_head(table).names for table in tables.values())
        self.attribute_names = [n for n in dict.fromkeys(columns) if n not in (NUMBER, CLASS, PATH)]
        self.notes: list[str] = []

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        folder, choice = named_folder(params, WHAT), params.clinfonce_tables
        tables: dict[Split, SafePath] = {
            "train": folder.at(find_first(folder, [choice.train], params)),
            "test": folder.at(find_first(folder, [choice.test], params)),
        }
        if choice.images is None:
            return cls(folder, tables)
        images = SafePath(resolve_user_path(choice.images))
        if not images.is_folder():
            raise UserError(f"{images} (ingest.clinfonce_tables.images) is not a folder: name the images'")
        return cls(source_root(images.path, params), tables)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        for split, table in self._tables.items():
            counted = f"the row of {table.name} that counts its values is no image"
            with open_text(table) as file:
                for line, record in csv_records(file, _head(table)):
                    where = f"{table.name} line {line}"
                    if isinstance(record, NotARow):
                        yield Refusal(where, record.reason)
                    elif counted not in self.notes and _counts_values(record):
                        self.notes.append(counted)
                    else:
                        yield self._row(where, record, split)

    def _row(self, where: str, record: dict[str, str], split: Split) -> SourceRow | Refusal:
        path = record[PATH]
        if not path:
            return Refusal(where, NOT_A_ROW)
        try:
            image = self._root.file(path)
        except UnsafePath as unsafe:
            return Refusal(where, unsafe.reason)
        return SourceRow(
            id=path,
            image=image,
            path=path,
            label=record[CLASS] or None,
            split=split,
            attributes={name: record.get(name) or None for name in self.attribute_names},
            where=where,
        )


def _counts_values(record: dict[str, str]) -> bool:
    return record[NUMBER] == COUNTED and (record[PATH] or "").isdecimal()


def _head(table: SafePath) -> Head:
    head = read_head(table, str(table))
    if not {NUMBER, CLASS, PATH} <= set(head.names):
        raise UserError(
            f"{table} must have the columns class and path after one without a name, and has "
            f"{listed(head.names) or 'no header'}: take the published file"
        )
    return head
