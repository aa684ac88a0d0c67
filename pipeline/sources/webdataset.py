"""Source `webdataset`: tar shards, as img2dataset writes them.

    00000.tar, 00001.tar, ...                          in `ingest.path`, or in train/ and test/ below it
        000000000.jpg, 000000000.txt, 000000000.json   files with a common key, one after the other

The fields of a sample are those of its JSON, and its short texts by their endings, such as `txt` and `cls`;
`ingest.columns` maps them. The key ends at the first dot, so that an ending may have several parts:
`colour.txt` holds the field `colour`, and `input.jpg` is the image if no ending is `jpg` alone. Shards are
read in order, one sample at a time. Several archives in a shard, as joined by `cat`, are read one after the
other. Refusals are counted per image, since a key may hold any number of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.columns import Columns, TableDescription, resolve_columns, row_of
from pipeline.sources.reading.expected_files import named_files
from pipeline.sources.reading.split_names import by_split
from pipeline.sources.reading.tar_samples import (
    IMAGES,
    SEPARATE,
    TEXTS,
    Candidates,
    Sample,
    dots_in,
    samples_in,
)
from pipeline.tables.records import is_unicode, names_in
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.walk import PassedOver

WHAT = "a .tar file, or a folder that holds some"
APART = (
    "the files of the key stand apart in the shard: pack those of each key one after the other, as tar "
    "--sort=name does"
)
BOOKKEEPING = frozenset(
    {"key", "status", "error_message", "url", "caption", "sha256", "md5", "exif"}
    | {"width", "height", "original_width", "original_height"}
)
"""Fields that img2dataset writes for every image; attributes only if in `ingest.columns.attributes`."""


@dataclass
class Unused:
    """Images of samples beside the one that is used, such as masks, or views of a product."""

    samples: int = 0
    images: int = 0
    first: str = ""

    def add(self, where: str, endings: list[str]) -> None:
        if endings:
            self.samples += 1
            self.images += len(endings)
            self.first = self.first or f"{where}.{endings[0]}"

    def notes(self) -> list[str]:
        if not self.images:
            return []
        return [
            f"{self.images:,} further images of {self.samples:,} samples are not used, the first of them "
            f"{self.first}: if they are samples of their own, {SEPARATE}"
        ]


class WebDatasetSource:
    """Label, hashtags, attributes and hierarchy: the fields that `ingest.columns` names; split: from the
    names of shards or folders, or else from its field."""

    def __init__(
        self,
        folder: Path,
        shards: dict[SafePath, Split | None],
        apart: dict[SafePath, dict[str, int]],
        columns: Columns,
        notes: list[str],
    ):
        self._folder = folder
        self._shards = shards
        self._apart = apart
        self._columns = columns
        self._notes = notes
        self._unused = Unused()
        self.attribute_names = columns.attributes

    @property
    def notes(self) -> list[str]:
        return self._notes + self._unused.notes() + self._columns.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Reads the JSON and texts of all samples, since fields may appear late.

        Raises `UserError` if there is no sample or a field is missing.
        """
        named = named_files(params, ".tar", ".tar files", WHAT)
        shards, notes = by_split(named.files, named.folder)
        passed_over = PassedOver()
        apart: dict[SafePath, dict[str, int]] = {shard: {} for shard in shards}
        samples = chain.from_iterable(
            _noting_apart(samples_in(shard, passed_over, IMAGES), apart[shard]) for shard in shards
        )
        records = (
            sample.record for sample in samples if isinstance(sample, Sample) and is_unicode(sample.record)
        )
        if (first := next(records, None)) is None:
            raise UserError(
                f"no file of {named.path} (ingest.path) is a tar archive with samples, the first of them "
                f"{next(iter(shards))}: make them again or download them again"
            )
        provided = ("image", "split") if None not in shards.values() else ("image",)
        table = TableDescription("the shards have", f"the shards of {named.path}")
        present, no_values = names_in(chain([first], records))
        left_out = BOOKKEEPING | TEXTS
        columns, its_notes = resolve_columns(params.columns, present, table, provided, left_out, no_values)
        if "split" in provided:
            columns = replace(columns, split=None)
        notes = named.notes + notes + passed_over.notes() + its_notes
        return cls(named.folder, shards, apart, columns, notes)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._columns.notices.clear()
        self._unused = Unused()
        for shard, split in self._shards.items():
            place = str(shard.path.relative_to(self._folder))
            refused: set[str] = set()
            for sample in samples_in(shard, PassedOver()):
                if isinstance(sample, Refusal):
                    yield replace(sample, where=f"{place}: {sample.where}" if sample.where else place)
                elif sample.key in self._apart[shard]:
                    if sample.key not in refused:
                        images = self._apart[shard][sample.key]
                        yield from repeat(Refusal(f"{place}/{sample.key}", APART), max(1, images))
                    refused.add(sample.key)
                elif reason := sample.reason():
                    yield from sample.refusals(place, reason)
                else:
                    yield self._row(f"{place}/{sample.key}", sample, split)

    def _row(self, where: str, sample: Sample, split: Split | None) -> SourceRow | Refusal:
        used, *others = sorted(sample.images, key=dots_in)
        row = row_of(sample.record, self._columns, where, where, sample.images[used])
        if isinstance(row, Refusal):
            return row
        self._unused.add(where, others)
        return row if split is None else replace(row, split=split)


def _noting_apart(samples: Iterator[Sample | Refusal], apart: dict[str, int]) -> Iterator[Sample | Refusal]:
    """Yields the samples of a shard; adds to `apart` the keys whose files are not all consecutive, with the
    number of images that are lost with each."""
    candidates: dict[str, Candidates] = {}
    for sample in samples:
        if isinstance(sample, Sample):
            before = candidates.get(sample.key)
            candidates[sample.key] = sample.candidates.joined(before or Candidates())
            # Two whole samples of one key are two samples.
            is_apart = before is not None and not (before.images and sample.candidates.images)
            if is_apart or sample.key in apart:
                apart[sample.key] = candidates[sample.key].images
        yield sample
