"""Source `webdataset`: tar shards, as img2dataset writes them.

    00000.tar, 00001.tar, ...                          in `ingest.path`, or in train/ and test/ below it
        000000000.jpg, 000000000.txt, 000000000.json   files with a common key, one after the other

The fields of a sample are those of its JSON, and its short texts by their endings, such as `txt` and `cls`;
`ingest.columns` maps them. The key ends at the first dot, so that an ending may have several parts:
`colour.txt` holds the field `colour`, and `input.jpg` is the image if no ending is `jpg` alone. Shards are
read in order, one sample at a time. Several archives in a shard, as joined by `cat`, are read one after the
other. Refusals are counted per image, since a key may hold any number of them.
"""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.json_text import LONGEST_KEY, NotJson, RepeatedKey, parse_json
from pipeline.runtime.sanitize import shortened
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.columns import Columns, TableDescription, resolve_columns, row_of
from pipeline.sources.reading.expected_files import named_files
from pipeline.sources.reading.split_names import by_split
from pipeline.sources.reading.tar_archives import DAMAGES, archives
from pipeline.tables.cells import comparable
from pipeline.tables.reading import Record, is_unicode, names_in
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.walk import PassedOver, is_hidden

WHAT = "a .tar file, or a folder that holds some"
IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm"})
TEXTS = frozenset({"txt", "cls", "text", "caption"})
LARGEST_SAMPLE = 64 * 1024 * 1024
"""Maximum bytes under one key: hundreds of samples are in memory while they are decoded."""
LARGEST_JSON = 8 * 1024 * 1024
"""Maximum bytes of a JSON file; parsed, it takes fifty times as many."""
MOST_MEMBERS = 1000
"""Maximum number of files under one key."""
MOST_ENDINGS = 100
"""Maximum number of endings of a sample that are kept, to be shown by a refusal."""
APART = (
    "the files of the key stand apart in the shard: pack those of each key one after the other, as tar "
    "--sort=name does"
)
SEPARATE = "write - for the dots within their names, since a key ends at the first dot"
BOOKKEEPING = frozenset(
    {"key", "status", "error_message", "url", "caption", "sha256", "md5", "exif"}
    | {"width", "height", "original_width", "original_height"}
)
"""Fields that img2dataset writes for every image; attributes only if in `ingest.columns.attributes`."""


class Candidates(NamedTuple):
    """The images under a key whose endings have the fewest parts: that of the sample, if there is one."""

    dots: int = 0
    """Number of dots in their endings."""
    images: int = 0

    def joined(self, others: "Candidates") -> "Candidates":
        if not self.images or not others.images:
            return self if self.images else others
        if self.dots == others.dots:
            return Candidates(self.dots, self.images + others.images)
        return min(self, others)


@dataclass
class Sample:
    """The members of a shard that have a common key."""

    key: str
    images: dict[str, bytes] = field(default_factory=dict)
    """Encoded images by their endings."""
    record: Record = field(default_factory=dict)
    compared: Record = field(default_factory=dict)
    """What `comparable` returns for the fields that several files hold."""
    members: int = 0
    size: int = 0
    wrong: str | None = None
    """The first reason why it can't be used; after it, no file is read."""
    endings: list[str] = field(default_factory=list)
    """The first endings, also of files that are not read."""
    candidates: Candidates = field(default_factory=Candidates)
    """Among all images under the key, also those that are not read."""

    def reason(self) -> str | None:
        """Returns why it can't be used; None if it can."""
        if self.wrong is not None:
            return self.wrong
        if self.candidates.images != 1:
            images, endings = self.candidates.images or "no", listed(sorted(self.endings), 5)
            cure = f": {SEPARATE}" if self.candidates.dots else ""
            return f"{images} images under the key, whose endings are {endings}{cure}"
        return None if is_unicode(self.record) else "the fields are not UTF-8 text"

    def refusals(self, place: str, reason: str) -> Iterator[Refusal]:
        """Yields a refusal per candidate, or one if there is none."""
        dots, images = self.candidates
        names = [f"{self.key}.{ending}" for ending in self.endings if _is_image(ending, dots)]
        for name in islice(chain(names if images > 1 else (), repeat(self.key)), max(1, images)):
            yield Refusal(f"{place}/{name}", reason)


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
            _noting_apart(_samples(shard, passed_over, IMAGES), apart[shard]) for shard in shards
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
            for sample in _samples(shard, PassedOver()):
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
        used, *others = sorted(sample.images, key=_dots)
        row = row_of(sample.record, self._columns, where, where, sample.images[used])
        if isinstance(row, Refusal):
            return row
        self._unused.add(where, others)
        return row if split is None else replace(row, split=split)


def _dots(ending: str) -> int:
    return ending.count(".")


def _is_image(ending: str, dots: int) -> bool:
    return ending.rpartition(".")[2] in IMAGES and _dots(ending) == dots


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


def _samples(
    shard: SafePath, passed_over: PassedOver, but: Collection[str] = ()
) -> Iterator[Sample | Refusal]:
    """Yields the samples of a shard in order; a refusal at the end if the shard is damaged or incomplete.

    Members with an ending in `but` are not read; hidden ones, such as macOS adds to each, are counted.
    """
    sample: Sample | None = None
    try:
        with shard.open_binary() as file:
            for members in archives(file):
                for member in members:
                    if member.isdir():
                        continue
                    if reason := _why_not(member):
                        yield Refusal(member.name, reason)
                        continue
                    if any(is_hidden(part) for part in member.name.split("/") if part != "."):
                        passed_over.add(f"{shard.name}: {member.name}")
                        continue
                    folder, _, name = member.name.rpartition("/")
                    stem, _, ending = name.partition(".")
                    key = f"{folder}/{stem}".lstrip("/")
                    if sample is None or sample.key != key:
                        if sample is not None:
                            yield sample
                        sample = Sample(key)
                    _add(sample, ending.lower(), file, member, but)
                if sample is not None:
                    yield sample
                sample = None
    except DAMAGES as error:
        # The sample that was being read is not known to be whole.
        lost = f", from {sample.key} on" if sample is not None else ""
        yield Refusal("", f"the archive is damaged or not whole{lost}: {str(error) or 'no end'}")


def _why_not(member: tarfile.TarInfo) -> str | None:
    if not member.isreg():
        return "a link or a device, not a file"
    if member.issparse():
        return "a file with holes"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "the name is absolute or holds .."
    return None


def _add(sample: Sample, ending: str, file: BinaryIO, member: tarfile.TarInfo, but: Collection[str]) -> None:
    name, _, kind = ending.rpartition(".")
    if len(sample.endings) < MOST_ENDINGS:
        sample.endings.append(ending)
    if kind in IMAGES:
        sample.candidates = sample.candidates.joined(Candidates(_dots(ending), 1))
    sample.members += 1
    if sample.wrong is None and sample.members > MOST_MEMBERS:
        sample.wrong = f"more than {MOST_MEMBERS:,} files under the key"
    if sample.wrong is not None or kind in but or kind not in IMAGES | TEXTS | {"json"}:
        return
    sample.size += member.size
    if sample.size > LARGEST_SAMPLE:
        sample.wrong = f"larger than {LARGEST_SAMPLE // 1024**2} MiB"
        return
    file.seek(member.offset_data)
    content = file.read(member.size)
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    if kind in IMAGES:
        if ending in sample.images:
            sample.wrong = f"two files under the key end in {ending}"
        sample.images[ending] = content
    elif kind == "json":
        _add_fields(sample, name, content)
    else:
        _add_field(sample, name or kind, content.decode("utf-8", "surrogateescape").strip())


def _add_fields(sample: Sample, name: str, content: bytes) -> None:
    if len(content) > LARGEST_JSON:
        sample.wrong = f"the JSON is larger than {LARGEST_JSON // 1024**2} MiB"
        return
    try:
        fields = parse_json(content)
    except NotJson as error:
        sample.wrong = f"the JSON can't be read: {error}"
        return
    if isinstance(fields, RepeatedKey):
        sample.wrong = fields.reason
    elif isinstance(fields, dict):
        for key, value in fields.items():
            if sample.wrong is None:
                _add_field(sample, key, value)
    elif name:
        _add_field(sample, name, fields)
    else:
        sample.wrong = "the JSON is no object"


def _add_field(sample: Sample, name: str, value: Any) -> None:
    """Adds a field to a sample. Several files under a key may hold it, and their values must agree.

    Folds each value once, so that many files that repeat a long text take no longer than their own size.
    """
    before = sample.record.get(name)
    if before is None:
        sample.record[name] = value
    elif value is not None and before != value:
        if name not in sample.compared:
            sample.compared[name] = comparable(before)
        if sample.compared[name] != comparable(value):
            sample.wrong = f"the files under the key differ in the field {shortened(name, LONGEST_KEY)!r}"
