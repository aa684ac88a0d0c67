"""Source `imagenet`: ImageNet, or a part of it, with one folder per class.

    train/<wnid>/*.JPEG
    val/<wnid>/*.JPEG                                  the validation images, sorted into classes
    LOC_synset_mapping.txt or words.txt                <wnid> <names>, optional

`ingest.imagenet.classes` names a list of wnids, such as that of ImageNet-100; `ingest.imagenet.edges` a
table of child and parent wnids, from which the hierarchy is built.
"""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Self

from pipeline.config.ingest import ImageNetParams, IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.class_folders import files_below, folders_in
from pipeline.sources.reading.expected_files import entries, find_first, named_folder, numbered_lines, pairs
from pipeline.sources.reading.split_names import Splits, splits_of
from pipeline.storage.files import resolve_user_path
from pipeline.tables.edge_list import LEAVES_SHOWN, paths_from_root
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import FOLDER, MISSING, SPECIAL, UnsafePath
from pipeline.untrusted.walk import Walk

WHAT = "the folder that holds train/<wnid> and val/<wnid>"
NAMES = ("LOC_synset_mapping.txt", "words.txt")
LONGEST_WNID = 60
"""Maximum number of characters: WordNet's have nine; 60 of four bytes each fit into a folder name."""
SPLIT_FOLDERS = ("train", "val")


class ImageNetSource:
    """Label: the wnid with its first name; split: val is test; no attributes and no hashtags.

    Names are not unique: two classes are called crane, and two maillot.
    """

    def __init__(self, root: Root, wnids: list[str], splits: Splits, params: ImageNetParams) -> None:
        self._root = root
        self._wnids = wnids
        self._splits = splits
        self._names = _names_in(root)
        self._paths: dict[str, list[str]] = {}
        self.attribute_names: list[str] = []
        self._notes: list[str] = []
        self._walk = Walk(root)
        if params.edges is not None:
            # In WordNet, many words have several parents; using only the first gives a tree.
            self._paths, missing = paths_from_root(
                resolve_user_path(params.edges), wnids, "first", "ingest.imagenet.edges"
            )
            self._notes.append("where ingest.imagenet.edges gives a class several parents the first counts")
            if missing:
                self._notes.append(
                    f"{len(missing):,} classes are not in ingest.imagenet.edges, and each is a root of its "
                    f"own: {listed(missing, LEAVES_SHOWN)}"
                )

    @property
    def notes(self) -> list[str]:
        return self._notes + self._walk.passed_over.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        root = named_folder(params, WHAT)
        find_first(root, ["train"], params)
        split_folders = [name for name in SPLIT_FOLDERS if root.has_folder(name)]
        splits, notes = splits_of(split_folders)
        wnids = _classes(root, split_folders, params.imagenet)
        source = cls(root, wnids, splits, params.imagenet)
        source._notes += notes
        return source

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._walk = Walk(self._root)
        class_folders = [f"{folder}/{wnid}" for folder in self._splits for wnid in self._wnids]
        for path in files_below(self._walk, class_folders):
            yield path if isinstance(path, Refusal) else self._row(path)

    def _row(self, path: str) -> SourceRow:
        folder, wnid = PurePath(path).parts[:2]
        return SourceRow(
            id=path,
            image=self._root.at(path),
            path=path,
            label=self._title(wnid),
            split=self._splits[folder],
            hierarchy=[self._title(above) for above in self._paths.get(wnid, [])],
        )

    def _title(self, wnid: str) -> str:
        names = self._names.get(wnid)
        return f"{wnid} {names.split(',')[0].strip()}" if names else wnid


def _names_in(root: Root) -> dict[str, str]:
    table = next((root.at(name) for name in NAMES if root.has(name)), None)
    return pairs(table) if table else {}


def _classes(root: Root, split_folders: list[str], params: ImageNetParams) -> list[str]:
    """Returns the wnids to use. Raises `UserError` for one without a folder in each split."""
    if params.classes is None:
        wnids = sorted({wnid for name in split_folders for wnid in folders_in(root.below(name))})
        if not wnids:
            raise UserError(
                f"ingest.source=imagenet expects a folder for each class in {root.at('train')}, which holds "
                f"{entries(root.below('train'))}"
            )
    else:
        table = SafePath(resolve_user_path(params.classes))
        try:
            wnids = list(dict.fromkeys(line.split()[0] for _, line in numbered_lines(table)))
        except UnsafePath as unsafe:
            if unsafe.reason not in (MISSING, FOLDER, SPECIAL):
                raise
            raise UserError(
                f"{table} (ingest.imagenet.classes) is not a file: set it to a list of wnids, one per line"
            ) from None
        if too_long := [wnid for wnid in wnids if len(wnid) > LONGEST_WNID]:
            raise UserError(
                f"{table} (ingest.imagenet.classes) is no list of wnids, one per line: it holds "
                f"{listed(too_long, 1)}"
            )
    for name in split_folders:
        present = set(folders_in(root.below(name)))
        if missing := [wnid for wnid in wnids if wnid not in present]:
            raise UserError(
                f"ingest.source=imagenet expects a folder for each class in {root.at(name)}, which holds "
                f"{entries(root.below(name))} and lacks {listed(missing, 6)}: add them, or leave them out by "
                "ingest.imagenet.classes"
            )
    return wnids
