"""Source `folder`: one folder per class.

    train/<class>/..., and test/<class>/... or val/<class>/..., or both
    <class>/...                                        without a split: ingest creates one

All images below the folder of a class have its label. Images beside the class folders have none.
"""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.class_folders import files_below, folders_in
from pipeline.sources.reading.expected_files import ENTRIES_SHOWN, named_folder
from pipeline.sources.reading.split_names import WORDS, Splits, split_word, splits_of
from pipeline.untrusted.safe_paths import Root
from pipeline.untrusted.walk import Walk, names_in

WHAT = "the folder that holds train/<class> and test/<class>, or <class>"


class FolderSource:
    """Label: the folder of the class; no attributes, hashtags and hierarchy."""

    def __init__(self, root: Root, splits: Splits, notes: list[str]) -> None:
        self._root = root
        self._splits = splits
        self._notes = notes
        self._walk = Walk(root)
        self.attribute_names: list[str] = []

    @property
    def notes(self) -> list[str]:
        return self._notes + self._walk.passed_over.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        root = named_folder(params, WHAT)
        folders, others = names_in(root)
        splits, notes = splits_of(folders)
        # A class may be called train; its folder then holds images and no folders.
        with_classes = [name for name in splits if folders_in(root.below(name))]
        if not any(_names_train(name) for name in with_classes):
            if folders and len(splits) == len(folders) and not with_classes:
                raise UserError(
                    f"the folders {listed(folders)} of {root.folder} (ingest.path) have names of splits, and "
                    f"hold no class folders: set ingest.path to {WHAT}, or write a manifest"
                )
            notes = ["the folders name no split: one is made"]
            if not folders:
                notes.append("there is no folder of a class: the images have no label")
            return cls(root, {}, notes)
        beside = sorted(name for name in [*folders, *others] if name not in splits)
        if beside:
            notes.append(f"not looked at beside {listed(list(splits))}: {listed(beside, ENTRIES_SHOWN)}")
        return cls(root, splits, notes)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._walk = Walk(self._root)
        if not self._splits:
            yield from self._rows_below("", None)
        for folder, split in self._splits.items():
            yield from self._rows_below(folder, split)

    def _rows_below(self, folder: str, split: Split | None) -> Iterator[SourceRow | Refusal]:
        for path in files_below(self._walk, folder):
            if isinstance(path, Refusal):
                yield path
                continue
            parts = PurePath(path).relative_to(folder).parts
            yield SourceRow(
                id=path,
                image=self._root.at(path),
                path=path,
                label=parts[0] if len(parts) > 1 else None,
                split=split,
            )


def _names_train(name: str) -> bool:
    return WORDS.get(split_word(name) or "") == "train"
