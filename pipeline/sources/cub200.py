"""Source `cub200`: Caltech-UCSD Birds-200-2011 as published by its authors.

    CUB_200_2011/images.txt                             <image> <name>
    CUB_200_2011/classes.txt                            <class> <name>
    CUB_200_2011/image_class_labels.txt                 <image> <class>
    CUB_200_2011/train_test_split.txt                   <image> <1: train, 0: test>
    CUB_200_2011/images/<name>
    CUB_200_2011/attributes/image_attribute_labels.txt  <image> <attribute> <present> <certainty> <time>
    attributes.txt                                      <attribute> <name>, beside CUB_200_2011 or in it

Each of the 312 attributes is a column of yes, no or nothing. An answer with certainty 1 ("not visible") is
unknown, whatever its presence; all others count: 2 ("guessing"), 3 ("probably") and 4 ("definitely").
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.expected_files import find_first, named_folder, numbered_lines, pairs
from pipeline.sources.reading.source_root import ALLOWED_BY
from pipeline.storage.schema import NO, YES
from pipeline.tables.lines import NotARow, open_text, text_lines
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

HOME = "CUB_200_2011"
WHAT = f"the folder that holds {HOME}"
MOST_ANSWERS = 1 << 28
"""Maximum number of answers, one byte each; the published data have 11,788 x 312."""
NOT_VISIBLE = "1"
CERTAINTIES = ("1", "2", "3", "4")
CELLS = {1: YES, 0: NO, -1: None}
SPLITS: dict[str, Split] = {"1": "train", "0": "test"}
BESIDE = "../attributes.txt"
ATTRIBUTE_NAMES_AT = ["attributes/attributes.txt", "attributes.txt", BESIDE]


class Cub200Source:
    """Label: the class; split: the official one; no hashtags and no hierarchy."""

    def __init__(self, root: Root, tables: dict[str, SafePath]) -> None:
        self._root = root
        self._tables = tables
        self._attributes = pairs(tables["attributes"])
        self.attribute_names = list(self._attributes.values())
        self.notes: list[str] = []
        if len(set(self.attribute_names)) < len(self.attribute_names):
            raise UserError(f"{tables['attributes']} names an attribute twice: fix it")

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        folder = named_folder(params, WHAT)
        home = folder.below(HOME) if folder.has_folder(HOME) else folder
        names = ["images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt"]
        tables = {Path(name).stem: home.at(find_first(home, [name], params)) for name in names}
        tables["answers"] = home.at(find_first(home, ["attributes/image_attribute_labels.txt"], params))
        tables["attributes"] = _attribute_names(home, params)
        return cls(home.bounded("images"), tables)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        classes = pairs(self._tables["classes"])
        class_of = pairs(self._tables["image_class_labels"])
        split_of = pairs(self._tables["train_test_split"])
        row_of = {image: row for row, image in enumerate(split_of)}
        answers_NA = self._read_answers(row_of)
        for where, line in numbered_lines(self._tables["images"]):
            image, name = (*line.split(maxsplit=1), "")[:2]
            split = SPLITS.get(split_of.get(image, ""))
            if not name or split is None:
                reason = "train_test_split.txt does not say train (1) or test (0) of it"
                yield Refusal(where, reason if name else "the line is not an image's number and name")
                continue
            answers_A = answers_NA[row_of[image]].tolist()
            try:
                yield SourceRow(
                    id=name,
                    image=self._root.file(name),
                    path=name,
                    label=classes.get(class_of.get(image, "")),
                    split=split,
                    attributes={
                        attribute: CELLS[answer]
                        for attribute, answer in zip(self.attribute_names, answers_A, strict=True)
                    },
                    where=where,
                )
            except UnsafePath as unsafe:
                yield Refusal(where, unsafe.reason)

    def _read_answers(self, row_of: dict[str, int]) -> NDArray[np.int8]:
        """Returns the answers (N, A): 1 present, 0 absent, -1 unknown. Reads the first four cells of a line,
        since some published lines have more. Invalid lines are counted in a note; their answers are
        unknown."""
        places = {number: place for place, number in enumerate(self._attributes)}
        if len(row_of) * len(places) > MOST_ANSWERS:
            raise UserError(
                f"{self._tables['attributes']} and the list of images require {len(row_of):,} x "
                f"{len(places):,} answers, more than the limit of {MOST_ANSWERS:,}: use the published files"
            )
        answers_NA = np.full((len(row_of), len(places)), -1, np.int8)
        unread, first = 0, 0
        with open_text(self._tables["answers"]) as file:
            for number, line in text_lines(file):
                cells = [""] if isinstance(line, NotARow) else line.split(None, 4)[:4]
                if not cells:
                    continue
                image, attribute, present, certainty = cells if len(cells) == 4 else [""] * 4
                row, place = row_of.get(image), places.get(attribute)
                if row is None or place is None or present not in ("0", "1") or certainty not in CERTAINTIES:
                    unread, first = unread + 1, first or number
                elif certainty != NOT_VISIBLE:
                    answers_NA[row, place] = present == "1"
        if unread:
            self.notes.append(
                f"{unread:,} lines of {self._tables['answers'].name} say nothing of a known image and "
                f"attribute, the first of them line {first}: what they were about stays unknown"
            )
        return answers_NA


def _attribute_names(home: Root, params: IngestParams) -> SafePath:
    """Returns the file of attribute names, published beside CUB_200_2011. If `ingest.path` is CUB_200_2011
    itself, only this file may be in its parent folder."""
    name = find_first(home, ATTRIBUTE_NAMES_AT, params)
    if home.within is None or name != BESIDE:
        return home.at(name)
    return SafePath(home.folder / name, Boundary.around(home.folder / "..", ALLOWED_BY))
