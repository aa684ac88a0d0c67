"""The output of ingest behind one handle, `ImageDataset(layout.images)`. Columns are read on first use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.dataset.decode import sizes_after_cutting
from pipeline.runtime.errors import UserError, listed
from pipeline.storage.schema import INGEST_SUMMARY, IngestSummary, images_schema
from pipeline.storage.validation import check_parquet, damaged, read_json, read_parquet


@dataclass(frozen=True)
class SplitShape:
    """Ids and image sizes of a split, known without decoding."""

    ids: list[str]
    sizes_N2: NDArray[np.int64]
    """Height and width of each image after `sizes_after_cutting`."""
    height: int
    width: int
    """Size of the canvas that all images share, with `height`."""

    @property
    def image_bytes(self) -> int:
        """Size of the canvas in bytes."""
        return self.height * self.width * 3


class ImageDataset:
    """The output folder of ingest, `data/images`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def summary(self) -> IngestSummary:
        return read_json(self.folder / INGEST_SUMMARY, IngestSummary)

    @cached_property
    def train(self) -> "ImageSplit":
        return ImageSplit(self.folder, "train")

    @cached_property
    def test(self) -> "ImageSplit":
        return ImageSplit(self.folder, "test")


class ImageSplit:
    """One row per image of a split. Training never uses `labels`, so it never reads them.

    `pipeline.dataset.pixels` and the loaders of training decode the pixels.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.cache: dict[object, Any] = {}
        """Results that a clustering method reuses for each of its settings."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def shards(self) -> list[Path]:
        """All shards in order, checked against `summary.json`.

        Raises `UserError` that names a missing or damaged file.
        """
        summary = read_json(self.folder / INGEST_SUMMARY, IngestSummary)
        paths = sorted(self.folder.glob(f"{self.name}-*-of-*.parquet"))
        if not paths:
            raise UserError(f"{self.folder} holds no {self.name} shards: run `dvc repro`, which writes them")
        _check_complete(paths, self.name)
        schema = images_schema(summary["attributes"], with_text="images_with_text" in summary)
        rows, expected = sum(check_parquet(path, schema) for path in paths), summary["images"].get(self.name)
        if rows != expected:
            raise damaged(
                self.folder,
                f"its {self.name} shards hold {rows} images, and {INGEST_SUMMARY} counts {expected}",
            )
        return paths

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Reads the columns `names` of all rows, in the order of the shards."""
        return pa.concat_tables([read_parquet(path, columns=names) for path in self.shards])

    @cached_property
    def ids(self) -> pa.ChunkedArray:
        return self._column("id")

    @cached_property
    def labels(self) -> pa.ChunkedArray:
        """Strings; null if unknown."""
        return self._column("label")

    @cached_property
    def hashtags(self) -> list[list[str]]:
        return lists_of(self._column("hashtags"))

    @cached_property
    def texts(self) -> list[str]:
        """The caption or title of each image; empty if it has none, or if ingest took no column of them."""
        summary = read_json(self.folder / INGEST_SUMMARY, IngestSummary)
        if "images_with_text" not in summary:
            return [""] * len(self)
        texts: list[str] = pc.fill_null(self._column("text"), "").to_pylist()
        return texts

    @cached_property
    def hierarchy(self) -> list[list[str]]:
        """One list per image, root to leaf."""
        return lists_of(self._column("hierarchy"))

    @cached_property
    def attribute_names(self) -> list[str]:
        kind = self._attributes.type
        return [field.name for field in kind] if pa.types.is_struct(kind) else []

    def attribute(self, name: str, parameter: str) -> list[str | None]:
        """Returns the column `name`. Raises `UserError` that names `parameter` if it does not exist."""
        names = self.attribute_names
        if name not in names:
            available = f"its columns are {listed(names)}" if names else "it has none"
            raise UserError(f"{parameter}: the data has no attribute column {name!r}; {available}")
        values: list[str | None] = self._attributes.field(name).to_pylist()
        return values

    @cached_property
    def shape(self) -> SplitShape:
        table = self.columns(["id", "width", "height"])
        ids = table.column("id").to_pylist()
        heights_N, widths_N = (table.column(name).to_numpy().astype(np.int64) for name in ("height", "width"))
        sizes_N2 = sizes_after_cutting(np.stack([heights_N, widths_N], axis=1))
        height, width = (int(side) for side in sizes_N2.max(axis=0)) if ids else (1, 1)
        return SplitShape(ids, sizes_N2, height, width)

    def _column(self, name: str) -> pa.ChunkedArray:
        return self.columns([name]).column(name)

    @cached_property
    def _attributes(self) -> pa.StructArray:
        return self._column("attributes").combine_chunks()


def lists_of(column: pa.ChunkedArray) -> list[list[str]]:
    """Returns the lists of a column of lists of strings; null becomes an empty list.

    Equal strings are one object, as a million images share a few thousand hashtags.
    """
    found: list[list[str]] = []
    same: dict[str, str] = {}
    for chunk in column.chunks:
        coded = pc.list_flatten(chunk).dictionary_encode()
        names = [same.setdefault(name, name) for name in coded.dictionary.to_pylist()]
        strings = iter([names[code] for code in coded.indices.to_numpy(zero_copy_only=False)])
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_pylist()
        found += [list(islice(strings, length)) for length in lengths]
    return found


def _check_complete(paths: Sequence[Path], split: str) -> None:
    """Raises `UserError` unless `paths` are all shards, whose number is part of each name."""
    count = int(re.findall(r"\d+", paths[0].stem)[-1])
    names = {f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)}
    found = {path.name for path in paths}
    if names != found:
        absent, others = sorted(names - found), sorted(found - names)
        what = [f"it lacks {listed(absent, 3)}"] if absent else []
        what += [f"{listed(others, 3)} belongs to other shards"] if others else []
        raise damaged(paths[0].parent, ", and ".join(what))
