"""Source `folder`: one folder per class.

    train/<class>/..., and test/<class>/... or val/<class>/..., or both
    <class>/train/..., and <class>/test/... or <class>/val/..., or both
    <class>/...                                        without a split: ingest creates one

All images below the folder of a class have its label. Images beside the class folders have none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow, Split, SplitWord
from pipeline.sources.reading.class_folders import files_below, folders_in
from pipeline.sources.reading.expected_files import ENTRIES_SHOWN, named_folder
from pipeline.sources.reading.split_names import WORDS, split_word, splits_of
from pipeline.tables.cells import folded
from pipeline.untrusted.safe_paths import Root
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.walk import Walk, names_in

WHAT = "the folder that holds train/<class> and test/<class>, or <class>"


@dataclass(frozen=True)
class Part:
    """A folder whose images have one split."""

    folder: str
    """Its path, of the same number of names for all parts of a source."""
    split: Split | None
    label: str | None = None
    """The label of all its images; None: that of the class folder in it."""


class FolderSource:
    """Label: the folder of the class; no attributes, hashtags and hierarchy."""

    def __init__(self, root: Root, parts: Sequence[Part], notes: list[str]) -> None:
        self._root = root
        self._parts = parts
        self._notes = notes
        self._walk = Walk(root)
        self.attribute_names: list[str] = []

    @property
    def notes(self) -> list[str]:
        return self._notes + self._walk.passed_over.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Raises `UserError` if folders have names of splits, and it is not clear which images are meant."""
        root = named_folder(params, WHAT)
        folders, others = names_in(root)
        splits, notes = splits_of(folders)
        # A class may be called train; its folder then holds images and no folders.
        with_classes = [name for name in splits if folders_in(root.below(name))]
        if any(_kind(name) == "train" for name in with_classes):
            beside = [name for name in [*folders, *others] if name not in splits]
            parts = [Part(folder, split) for folder, split in splits.items()]
            return cls(root, parts, notes + _beside(splits, beside))
        if folders and len(splits) == len(folders) and not with_classes:
            raise UserError(
                f"the folders {listed(folders)} of {root.folder} (ingest.path) have names of splits, and "
                f"hold no class folders: set ingest.path to {WHAT}, or write a manifest"
            )
        folders_of = {name: _folders_in_class(root.below(name)) for name in folders}
        if _are_splits(folders_of):
            return cls(root, *_parts_of_classes(root, folders_of, others))
        notes = ["the folders name no split: one is made"]
        if not folders:
            notes.append("there is no folder of a class: the images have no label")
        return cls(root, [Part("", None)], notes)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._walk = Walk(self._root)
        parts = {PurePath(part.folder).parts: part for part in self._parts}
        (depth,) = {len(folder) for folder in parts}
        for path in files_below(self._walk, [part.folder for part in self._parts]):
            if isinstance(path, Refusal):
                yield path
            else:
                names = PurePath(path).parts
                yield self._row(path, parts[names[:depth]], names[depth:])

    def _row(self, path: str, part: Part, below: Sequence[str]) -> SourceRow:
        folder = part.label or (below[0] if len(below) > 1 else "")
        return SourceRow(
            id=path, image=self._root.at(path), path=path, label=folded(folder) or None, split=part.split
        )


def _kind(name: str) -> SplitWord | None:
    return WORDS.get(split_word(name) or "")


def _beside(splits: Iterable[str], beside: Iterable[str]) -> list[str]:
    """Returns a note on what is beside the folders `splits`."""
    names = listed(sorted(beside), ENTRIES_SHOWN)
    return [f"not looked at beside {listed(sorted(splits))}: {names}"] if names else []


def _folders_in_class(folder: Root) -> list[str]:
    """Returns the folders in a class folder; none if it can't be read, which is a refusal later."""
    try:
        return folders_in(folder)
    except UnsafePath:
        return []


def _are_splits(folders_of: dict[str, list[str]]) -> bool:
    """Returns whether folders in class folders are splits: all have train, or one has train and held-out."""
    kinds = [{_kind(folder) for folder in folders} - {None} for folders in folders_of.values()]
    with_train = [of_class for of_class in kinds if "train" in of_class]
    return bool(kinds) and (
        len(with_train) == len(kinds) or any(len(of_class) > 1 for of_class in with_train)
    )


def _parts_of_classes(
    root: Root, folders_of: dict[str, list[str]], others: list[str]
) -> tuple[list[Part], list[str]]:
    """Returns the splits of each class, and notes.

    `others` is beside the class folders. Raises `UserError` if a class has no splits, and `UnsafePath` for a
    split that can't be read, of which no image would be.
    """
    splits_in = {name: [each for each in folders if split_word(each)] for name, folders in folders_of.items()}
    if without := [name for name, found in splits_in.items() if not found]:
        example = next(f"{name}/{found[0]}" for name, found in splits_in.items() if found)
        raise UserError(
            f"class folders of {root.folder} (ingest.path) hold folders of splits, such as {example}, but "
            f"not {listed(without, ENTRIES_SHOWN)}: give each class its splits, move the others away, or "
            "write a manifest"
        )
    splits, notes = splits_of(name for found in splits_in.values() for name in found)
    parts = [
        Part(f"{name}/{each}", splits[each], name) for name, found in splits_in.items() for each in found
    ]
    for part in parts:
        with root.at(part.folder).opened_folder():
            pass
    beside = [
        f"{name}/{each}"
        for name, found in splits_in.items()
        for each in chain(*names_in(root.below(name)))
        if each not in found
    ]
    return parts, notes + _beside(splits, [*others, *beside])
