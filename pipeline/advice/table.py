"""The candidates in a table of any size: its columns, and the hashtags in one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.advice.candidates import Candidate, joint_codes
from pipeline.advice.predictors import Labelled
from pipeline.dataset.attribute_types import are_quantities, read_column
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.runtime.seeding import numpy_generator
from pipeline.sources.reading.split_names import split_of_cell
from pipeline.statistics.contingency import UNKNOWN, Codes
from pipeline.statistics.hashtags import hashtag_clusterings
from pipeline.statistics.sample import Sample
from pipeline.statistics.streaming import Coder
from pipeline.statistics.tables import ColumnTable, open_table
from pipeline.statistics.tag_sets import TagSets
from pipeline.statistics.values import codes_of_values
from pipeline.tables.cells import NotOneValue

PARTS = 4
"""Parts of equal size into which a column of numbers is cut, as `cluster.attributes.bins` does."""
MOST_JOINED_TAGS = 8
"""Maximum number of joined hashtags."""
MOST_COLUMNS = 2000
IMAGE, SPLIT, HASHTAGS = "image", "split", "hashtags"
"""Names of columns with a role of their own, in any case."""


@dataclass(frozen=True)
class TableSample:
    columns: dict[str, Codes]
    others: list[Candidate]
    """Numbers that are not cut, and joint hashtags."""
    labelled: Labelled
    of_images: dict[str, Any]
    """Changes of params.yaml by which ingest reads the images of this table, if it names any."""
    notes: list[str]


def read_sample(path: Path, label: str, batch_size: int, seed: int) -> TableSample:
    """Reads the table in one pass; of large tables a random part.

    Test and validation rows are left out, since a choice by their labels would spoil the test. Raises
    `UserError` for a table or column that cannot be read, and without two labels.
    """
    table = open_table(path)
    table.check_columns([label])
    roles = _Roles.of(table, label)
    reader = _Reader(roles, seed)
    for batch in table.read(roles.read):
        reader.add(batch)
    notes = [*table.notes, *reader.notes()]
    if table.refused:
        notes.append(f"rows that are left out: {table.refused.in_words()}")
    codes_of = reader.codes_of()
    labelled = Labelled(
        _without_gaps(codes_of[label]), batch_size, max(1, reader.images), reader.row_weights()
    )
    if labelled.why_too_few:
        raise UserError(
            f"there are {labelled.why_too_few} in column {shown(label)} of {path}: advice compares clusters "
            "by labels that images share"
        )
    columns, uncut, column_notes = _columns(codes_of, roles, reader.coders)
    tags = []
    if roles.hashtags is not None:
        codes_N = codes_of[roles.hashtags].astype(np.int64)
        notes += reader.tag_sets.notes(roles.hashtags, codes_N)
        found = hashtag_clusterings(reader.tag_sets.sets, codes_N, range(1, MOST_JOINED_TAGS + 1), seed)
        tags = [Candidate(f"hashtags ({one.setting})", one.clusters_N, one.changes) for one in found]
    if not columns and not tags:
        raise UserError(
            f"{path} has no column beside {shown(label)} whose values repeat: nothing to cluster by"
        )
    return TableSample(columns, [*uncut, *tags], labelled, _of_images(path, roles), notes + column_notes)


def _of_images(path: Path, roles: "_Roles") -> dict[str, Any]:
    if roles.image is None:
        return {}
    source = {"ingest.source": "manifest", "ingest.path": str(path)}
    named = {"image": roles.image, "label": roles.label, "split": roles.split, "hashtags": roles.hashtags}
    return source | {
        f"ingest.columns.{role}": name for role, name in named.items() if name not in (role, None)
    }


@dataclass(frozen=True)
class _Roles:
    image: str | None
    label: str
    split: str | None
    hashtags: str | None
    columns: list[str]
    """All others that may be clustered by."""

    @classmethod
    def of(cls, table: ColumnTable, label: str) -> "_Roles":
        def named(role: str) -> str | None:
            names = [*table.columns, *(table.no_values if role == HASHTAGS else [])]
            return next((name for name in names if name.casefold() == role and name != label), None)

        image, split, hashtags = named(IMAGE), named(SPLIT), named(HASHTAGS)
        others = [name for name in table.columns if name not in (label, image, split, hashtags)]
        if len(others) > MOST_COLUMNS:
            raise UserError(
                f"{table.path} has {len(others):,} columns beside {shown(label)}, and advice compares up to "
                f"{MOST_COLUMNS:,}: leave some out"
            )
        return cls(image, label, split, hashtags, others)

    @property
    def read(self) -> list[str]:
        return [name for name in (self.label, self.split, self.hashtags) if name is not None] + self.columns


class _Reader:
    """Codes of a sample of the train rows; those with a label, which may be few, in a sample of their own."""

    def __init__(self, roles: _Roles, seed: int) -> None:
        self._roles = roles
        self.coders = {name: Coder() for name in [roles.label, *roles.columns]}
        self.tag_sets = TagSets()
        self._no_values: set[str] = set()
        self._split_codes, self._held_out = Coder(), 0
        coding_of: dict[str, Callable[[pa.Array], Codes]] = {
            name: self._coding(name, coder) for name, coder in self.coders.items()
        }
        if roles.hashtags is not None:
            coding_of[roles.hashtags] = self.tag_sets.codes
        self._names = list(coding_of)
        self._samples = [
            Sample(coding_of, numpy_generator(seed, "advice", part)) for part in ("labelled", "unlabelled")
        ]

    def add(self, batch: pa.RecordBatch) -> None:
        train_N = self._are_train(batch)
        try:
            labelled_N = self.coders[self._roles.label].codes(batch.column(self._roles.label)) != UNKNOWN
        except NotOneValue as what:
            raise UserError(
                f"column {shown(self._roles.label)} holds {what}, which is no label: name another"
            ) from None
        with_label, without_label = self._samples
        with_label.add(batch, np.flatnonzero(train_N & labelled_N))
        without_label.add(batch, np.flatnonzero(train_N & ~labelled_N))

    @property
    def images(self) -> int:
        return sum(sample.seen for sample in self._samples)

    def codes_of(self) -> dict[str, NDArray[np.int32]]:
        """Returns the codes of each column, those of rows with a label first."""
        codes_RC = np.concatenate([sample.codes_RC for sample in self._samples])
        return {
            name: codes_RC[:, place] for place, name in enumerate(self._names) if name not in self._no_values
        }

    def row_weights(self) -> NDArray[np.float64]:
        """Returns (R,) the number of rows of the table that each row of the sample stands for."""
        kept = [len(sample.codes_RC) for sample in self._samples]
        stands_for = [sample.seen / max(1, rows) for sample, rows in zip(self._samples, kept, strict=True)]
        return np.repeat(stands_for, kept)

    def notes(self) -> list[str]:
        kept = sum(len(sample.codes_RC) for sample in self._samples)
        notes = []
        if kept < self.images:
            notes.append(f"measured on a random sample of {kept:,} of the {self.images:,} rows")
        if self._held_out:
            notes.append(f"{self._held_out:,} test and validation rows are left out")
        if self._no_values:
            notes.append(f"left out, as they hold lists or objects: {listed(sorted(self._no_values))}")
        return notes

    def _coding(self, name: str, coder: Coder) -> Callable[[pa.Array], Codes]:
        def codes(column: pa.Array) -> Codes:
            try:
                return coder.codes(column)
            except (NotOneValue, pa.ArrowException, ValueError, TypeError, OverflowError):
                self._no_values.add(name)
                return np.full(len(column), UNKNOWN, np.int64)

        return codes

    def _are_train(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        train_N = np.ones(batch.num_rows, np.bool_)
        if self._roles.split is not None:
            codes_N = self._split_codes.codes(batch.column(self._roles.split))
            splits = [value and split_of_cell(value) for value in self._split_codes.values()]
            held_out_V = np.array([split in ("test", "validation") for split in splits] + [False])
            train_N = ~held_out_V[codes_N]
            self._held_out += int(np.count_nonzero(~train_N))
        return train_N


def _columns(
    codes_of: dict[str, NDArray[np.int32]], roles: _Roles, coders: dict[str, Coder]
) -> tuple[dict[str, Codes], list[Candidate], list[str]]:
    """Returns the columns whose values repeat, numbers cut into parts and uncut, and notes."""
    columns: dict[str, Codes] = {}
    uncut: list[Candidate] = []
    unique, cut = [], []
    for name in roles.columns:
        if name not in codes_of:
            continue
        values = coders[name].rows_of_values()
        # A long text, of which a coder keeps the beginning, is no number.
        is_cut = len(values) == len(coders[name]) and are_quantities(values)
        codes_N = _cut(name, codes_of[name], list(values)) if is_cut else _without_gaps(codes_of[name])
        if int(codes_N.max(initial=UNKNOWN)) + 1 >= np.count_nonzero(codes_N != UNKNOWN):
            unique.append(name)
            continue
        columns[name] = codes_N
        if is_cut:
            cut.append(name)
            if all(value.isdigit() for value in values):
                # Whole numbers may be names of clusters, which `cluster.method=column` takes as they are.
                changes = {"cluster.method": "column", "cluster.column.name": name}
                uncut.append(Candidate(f"{name} (uncut)", _without_gaps(codes_of[name]), changes))
    notes = [f"numbers or dates, cut into {PARTS} parts of equal size: {listed(cut)}"] if cut else []
    if unique:
        notes.append(f"left out, as no value of theirs repeats: {listed(unique)}")
    return columns, uncut, notes


def _without_gaps(codes_N: NDArray[np.int32]) -> Codes:
    """Returns the codes as if the rows of the sample were all."""
    return joint_codes([codes_N.astype(np.int64)])


def _cut(name: str, codes_N: NDArray[np.int32], values: list[str]) -> Codes:
    cells = [None if code == UNKNOWN else values[code] for code in codes_N.tolist()]
    return codes_of_values(read_column(name, cells, PARTS).cells)
