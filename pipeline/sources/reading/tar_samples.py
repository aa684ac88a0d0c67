"""Samples of a tar shard: consecutive files with a common key, as packed by WebDataset and img2dataset."""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any, BinaryIO, NamedTuple

from pipeline.runtime.errors import listed
from pipeline.runtime.json_text import LONGEST_KEY, NotJson, RepeatedKey, parse_json
from pipeline.runtime.sanitize import shortened
from pipeline.sources.base import Refusal
from pipeline.sources.reading.tar_archives import DAMAGES, archives
from pipeline.tables.cells import comparable
from pipeline.tables.records import Record, is_unicode, why_not_unicode
from pipeline.untrusted.safe_paths import LONGEST_PATH, TOO_LONG, SafePath
from pipeline.untrusted.walk import PassedOver, is_hidden

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
SEPARATE = "write - for the dots within their names, since a key ends at the first dot"


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
    json_size: int = 0
    """Bytes of its JSON files."""
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
        if is_unicode(self.record):
            return None
        return why_not_unicode(self.record, "the fields are not UTF-8 text")

    def refusals(self, place: str, reason: str) -> Iterator[Refusal]:
        """Yields a refusal per candidate, or one if there is none."""
        dots, images = self.candidates
        names = [f"{self.key}.{ending}" for ending in self.endings if _is_image(ending, dots)]
        for name in islice(chain(names if images > 1 else (), repeat(self.key)), max(1, images)):
            yield Refusal(f"{place}/{name}", reason)


def dots_in(ending: str) -> int:
    """Returns the number of parts of an ending, less one."""
    return ending.count(".")


def _is_image(ending: str, dots: int) -> bool:
    return ending.rpartition(".")[2] in IMAGES and dots_in(ending) == dots


def samples_in(
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
    if len(member.name) > LONGEST_PATH:
        return TOO_LONG
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
        sample.candidates = sample.candidates.joined(Candidates(dots_in(ending), 1))
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
    sample.json_size += len(content)
    if sample.json_size > LARGEST_JSON:
        sample.wrong = f"the JSON under the key is larger than {LARGEST_JSON // 1024**2} MiB"
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
