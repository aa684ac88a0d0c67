"""Checks of which images can be read, and how fast."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

from PIL import Image, features

from pipeline.config.ingest import IngestParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import decode_center
from pipeline.doctor.base import Check, Situation, duration, fail, ok, warn
from pipeline.doctor.sample import reasons
from pipeline.ingest.chunks import refused
from pipeline.ingest.decoding import FORMATS as INGESTED
from pipeline.presentation.formatting import plural
from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.resources import usable_cores
from pipeline.sources.base import SourceRow
from pipeline.sources.registry import open_source
from pipeline.storage.validation import open_parquet
from pipeline.untrusted.isolation.pool import Call, Pool
from pipeline.untrusted.safe_paths import SafePath

FORMATS = {
    "jpg": "JPEG",
    "zlib": "PNG",
    "webp": "WebP",
    "libtiff": "TIFF",
}
"""Formats by Pillow's name of the library that reads them; BMP, GIF and others need no library."""
NEEDED = ("jpg", "zlib")
"""Libraries of the formats that ingest writes."""
UNREAD = {
    ".heic",
    ".heif",
    ".svg",
    ".pdf",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".orf",
    ".rw2",
    ".mp4",
    ".mov",
}
"""Endings of pictures and films that no library here reads."""
LISTED_ENDINGS = 5
INSPECTED = 2_000
"""Maximum number of rows of the source whose file extensions are counted."""
DECODED = 512
SECONDS = 3.0
A_CALL = 8
"""Number of images per call of a process or thread."""


def look(situation: Situation) -> list[Check]:
    return [_formats(), *_source(situation), _rate(situation)]


def _formats() -> Check:
    readable = {name: title for name, title in FORMATS.items() if features.check(name)}
    found = f"Pillow reads {', '.join([*readable.values(), 'BMP', 'GIF'])}"
    missing = [title for name, title in FORMATS.items() if name not in readable]
    if any(name not in readable for name in NEEDED):
        return fail("formats", f"{found}, not {', '.join(missing)}", "install Pillow's own wheel: `uv sync`.")
    return ok("formats", f"{found}, not {', '.join(missing)}" if missing else found)


def _source(situation: Situation) -> list[Check]:
    """Checks that the source opens, and that ingest reads its file types.

    Returns nothing for a source of encoded images: they have no files, and `_rate` decodes them.
    """
    if situation.params is None:
        return []
    try:
        source_rows = _rows(situation.params.ingest, situation.params.seed, INSPECTED)
        rows = list(islice(source_rows, 1))
        if rows and not isinstance(rows[0].image, SafePath):
            return []
        rows += source_rows
    except UserError as error:
        return [fail("source", str(error), "fix it, or no stage can begin.")]
    # Files are read by their content, whatever their ending, unless it names another kind of picture.
    others = {ending for ending, name in Image.registered_extensions().items() if name not in INGESTED}
    endings = Counter(Path(row.path).suffix.lower() for row in rows if isinstance(row.image, SafePath))
    unread = [(ending, count) for ending, count in endings.most_common() if ending in others | UNREAD]
    read = f"{len(rows):,} of the first rows have an image"
    if unread:
        found = listed([f"{count:,} end in {ending}" for ending, count in unread], LISTED_ENDINGS)
        cure = "convert these files to JPEG or PNG, or ingest refuses them."
        return [warn("source", f"{read}; {found}, which ingest does not read", cure)]
    absent = [
        row.path for row in rows[:DECODED] if isinstance(row.image, SafePath) and row.image.status() is None
    ]
    if absent:
        found = (
            f"{len(absent):,} of the first {min(len(rows), DECODED):,} files are not there, first {absent[0]}"
        )
        return [
            warn("source", found, _cure_of_absent(len(absent), len(rows[:DECODED]), situation.params.ingest))
        ]
    return [ok("source", f"{read}, all of kinds that ingest reads")]


def _cure_of_absent(absent: int, of: int, params: IngestParams) -> str:
    if 2 * absent > of:
        return "paths are relative to the manifest: move it beside its images."
    allowed = f"{params.max_reject_fraction:.2g} of all rows (ingest.max_reject_fraction)"
    return f"find them, or leave them: ingest lists what it refuses, and stops above {allowed}."


def _rate(situation: Situation) -> Check:
    """Measures the decoding of the ingested images or, before ingest, of the source's images."""
    what = "decoding"
    if situation.ingested:
        outline = ImageSplit(situation.layout.images, "train").shape
        encoded = _encoded(situation.layout.images)
        sizes_N2 = outline.sizes_N2[: len(encoded)]
        with ThreadPoolExecutor(_at_once()) as threads:
            rate = _measured(
                len(encoded),
                lambda some: list(threads.map(decode_center, encoded[some], sizes_N2[some])),
            )
        all_of_train = duration(len(outline.ids) / rate)
        found = f"{rate:,.0f} ingested images a second by {plural(_at_once(), 'thread')}"
        return ok(what, f"{found}: {all_of_train} for all of train")
    if situation.params is None:
        return ok(what, "not measured, as params.yaml does not say which images")
    try:
        rows = list(_rows(situation.params.ingest, situation.params.seed, DECODED))
    except UserError as error:
        return fail(what, str(error), "fix it, or no stage can begin.")
    size, why = situation.params.ingest.image_size, Counter[str]()
    with closing(Pool(_at_once())) as pool:

        def prepare(some: slice) -> None:
            cut = [rows[some][first : first + A_CALL] for first in range(0, len(rows[some]), A_CALL)]
            for done in [pool.submit(Call(reasons, call, (size,), refused)) for call in cut]:
                why.update(reason for reason in done.result() if reason is not None)

        pool.submit(Call(reasons, [], (size,), refused)).result()  # the first one starts a process
        rate = _measured(len(rows), prepare)
    by = plural(_at_once(), "process", "processes")
    found = f"{rate:,.0f} images of the source a second by {by}, resized to {size} pixels"
    if why:
        reason, count = why.most_common(1)[0]
        cure = f"look at them: ingest stops above {situation.params.ingest.max_reject_fraction:.0%} refused."
        return warn(what, f"{found}; {why.total()} of {len(rows)} refused, {count} as: {reason}", cure)
    return ok(what, found)


def _rows(params: IngestParams, seed: int, count: int) -> Iterator[SourceRow]:
    source = open_source(params, seed)
    yield from (row for row in islice(source.rows(), count) if isinstance(row, SourceRow))


def _encoded(images: Path) -> list[bytes]:
    with open_parquet(ImageSplit(images, "train").shards[0]) as file:
        batch = next(file.iter_batches(DECODED, columns=["image"]))
    found: list[bytes] = batch.column("image").field("bytes").to_pylist()
    return found


def _measured(count: int, work: Callable[[slice], object]) -> float:
    """Returns how many of `count` items per second `work` processes, in at most `SECONDS`."""
    done, started = 0, time.perf_counter()
    while done < count and time.perf_counter() - started < SECONDS:
        stop = min(count, done + A_CALL * _at_once())
        work(slice(done, stop))
        done = stop
    return done / (time.perf_counter() - started)


def _at_once() -> int:
    return max(1, int(usable_cores()))
