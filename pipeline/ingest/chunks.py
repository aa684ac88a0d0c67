"""Chunks of prepared rows on disk, so that a killed run does not prepare any row twice.

A chunk holds some thousand rows. It is an Arrow file, named by its number and a hash of everything that
determines its content. It holds the accepted rows as they are stored, further facts about each, and the
refusals. Chunks lie in the folder of unfinished work (`pipeline.storage.files.state_root`) and are removed
when the stage has succeeded.
"""

import dataclasses
import glob
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa

from pipeline.ingest.chunk_files import (
    FACTS,
    REFUSALS,
    SPLIT_CODES,
    SUFFIX,
    is_whole,
    read_chunk,
    refusals_of,
    rows_of,
    write_chunk,
)
from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.perceptual_hash import perceptual_hashes, thumbnails
from pipeline.ingest.prepare import PreparedImage, prepare_image
from pipeline.sources.base import Refusal, SourceRow
from pipeline.storage.files import sha256_of_file, version_of, write_atomically
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation.limits import HELD_BYTES, limited
from pipeline.untrusted.safe_paths import SafePath

ROWS_PER_CHUNK = 2048
BYTES_PER_CHUNK = 64 * 1024 * 1024
"""Size at which a chunk ends: bytes of images that the source yields in memory, and of their table rows as
Python objects."""
Row = SourceRow | Refusal


@dataclass(frozen=True)
class Task:
    """Settings by which all chunks of a run are prepared."""

    schema: pa.Schema
    size: int
    look: bool
    value_range: ValueRange | None = None


def cut(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cuts rows into chunks of `ROWS_PER_CHUNK` rows, or fewer if they hold many bytes."""
    part: list[Row] = []
    held = 0
    for row in rows:
        part.append(row)
        held += _bytes_held(row)
        if len(part) == ROWS_PER_CHUNK or held >= BYTES_PER_CHUNK:
            yield part
            part, held = [], 0
    if part:
        yield part


def _bytes_held(row: Row) -> int:
    """Returns roughly the bytes that a row holds; refusals are short, and an image may be a file."""
    if isinstance(row, Refusal):
        return 0
    lists = (row.hashtags, row.hierarchy, row.attributes)
    texts = chain(row.hashtags, row.hierarchy, row.attributes.values())
    return sum(map(sys.getsizeof, chain((row.image, row.id, row.label, row.text), lists, texts)))


# --- names --------------------------------------------------------------------------------------------------


@cache
def _version() -> str:
    """Returns a version of the code and its limits, so that chunks of another version are not reused."""
    return " ".join([PIL.__version__, *(sha256_of_file(source) for source in _sources())])


def _sources() -> list[Path]:
    package = Path(__file__).parents[1]
    return sorted(chain.from_iterable((package / name).rglob("*.py") for name in ("ingest", "untrusted")))


def chunk_name(rows: Sequence[Row], task: Task) -> str:
    """Returns a name by the rows, the versions of their files, and how they are prepared."""
    digest = hashlib.sha256(
        repr((_version(), task.schema.to_string(), task.size, task.look, task.value_range)).encode()
    )
    for row in rows:
        digest.update(repr(_facts(row)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32] + SUFFIX


def _facts(row: Row) -> tuple[object, ...]:
    if isinstance(row, Refusal):
        return dataclasses.astuple(row)
    return (_image_facts(row.image), *(getattr(row, name) for name in _names_of_facts()))


@cache
def _names_of_facts() -> list[str]:
    return [field.name for field in dataclasses.fields(SourceRow) if field.name != "image"]


def _image_facts(image: bytes | SafePath) -> tuple[object, ...]:
    if isinstance(image, bytes):
        return (hashlib.sha256(image).digest(),)
    status = image.status()
    if status is None:
        return (str(image),)
    return (str(image), image.within is None, *version_of(status))


# --- pieces -------------------------------------------------------------------------------------------------

SECONDS_PER_PIECE, SECONDS_AFTER_A_DEATH = 1.0, 0.1
"""Processor time of a piece, the most that is lost if an image ends the process; and the same after one has
done so."""
_PIECES = ".{}.from-{}.tmp"


def _piece_path(part: Path, first: int) -> Path:
    """Returns the path of a piece of an unfinished chunk: its rows from number `first` on."""
    return part.with_name(_PIECES.format(part.name, first))


def _pieces(part: Path) -> Iterator[pa.Table]:
    """Yields, in order, the pieces that a process wrote without finishing the chunk."""
    done = 0
    while is_whole(path := _piece_path(part, done)):
        piece = read_chunk(path)
        yield piece
        done += rows_of(piece)


# --- writing and reading ------------------------------------------------------------------------------------


def prepare_chunk(rows: Sequence[Row], task: Task, path: Path) -> None:
    """Prepares and writes a chunk. If an earlier call was killed, it continues after its last piece."""
    begun = path.with_name(_PIECES.format(path.name, "begun"))
    seconds = SECONDS_AFTER_A_DEATH if begun.exists() else SECONDS_PER_PIECE
    begun.touch()
    pieces = list(_pieces(path))
    done = sum(rows_of(piece) for piece in pieces)
    while True:
        piece = _prepared(rows, done, task, seconds)
        done += rows_of(piece)
        if done == len(rows):
            break
        where = _piece_path(path, done - rows_of(piece))
        write_chunk(piece, where)
        pieces.append(read_chunk(where))
    part = pa.concat_tables([*pieces, piece]).combine_chunks() if pieces else piece
    refusals = [dataclasses.astuple(refusal) for one in (*pieces, piece) for refusal in refusals_of(one)]
    part = part.replace_schema_metadata({REFUSALS: json.dumps(refusals)})
    write_atomically(path, lambda temporary: write_chunk(part, temporary))
    del pieces
    for where in path.parent.glob(_PIECES.format(glob.escape(path.name), "*")):
        where.unlink()


def _prepared(rows: Sequence[Row], first: int, task: Task, seconds: float) -> pa.Table:
    """Prepares rows from `first` on, until the process has worked for `seconds` or holds `HELD_BYTES`."""
    accepted: list[tuple[SourceRow, PreparedImage]] = []
    refusals: list[tuple[str, str]] = []
    held = 0
    until = time.process_time() + seconds
    with closing(limited(rows, first)) as coming:
        for row in coming:
            prepared = _prepare(row, task)
            if isinstance(row, SourceRow) and isinstance(prepared, PreparedImage):
                accepted.append((row, prepared))
                held += len(prepared.encoded)
            else:
                assert isinstance(prepared, Refusal)
                refusals.append((prepared.where, prepared.reason))
            if time.process_time() > until or held > HELD_BYTES:
                break
    stored = pa.Table.from_pylist([_record(row, image) for row, image in accepted], task.schema)
    table = _with_facts(stored, accepted, task.look)
    return table.replace_schema_metadata({REFUSALS: json.dumps(refusals)})


def refused(row: Row, reason: str) -> Row:
    """Returns the refusal that replaces a row which ends its process."""
    return row if isinstance(row, Refusal) else Refusal(row.path, reason)


def _prepare(row: Row, task: Task) -> PreparedImage | Refusal:
    if isinstance(row, Refusal):
        return row
    try:
        return prepare_image(row.image, task.size, task.value_range, look=task.look)
    except ImageRefused as why:
        return Refusal(row.path, str(why))


def _record(row: SourceRow, image: PreparedImage) -> dict[str, object]:
    return {
        "id": row.id,
        "image": {"bytes": image.encoded, "path": row.path},
        "label": row.label,
        "hashtags": row.hashtags,
        "text": row.text,
        "attributes": row.attributes or None,
        "hierarchy": row.hierarchy,
        "width": image.width,
        "height": image.height,
    }


def _with_facts(stored: pa.Table, accepted: list[tuple[SourceRow, PreparedImage]], look: bool) -> pa.Table:
    images = [image for _, image in accepted]
    looks = [image.look for image in images if image.look is not None]
    assert len(looks) == (len(images) if look else 0)
    looks_NLL = np.stack(looks) if looks else np.empty((0, 32, 32), np.uint8)
    hashes: list[int] | list[None] = perceptual_hashes(looks_NLL).tolist() if look else [None] * len(images)
    thumbnail_bytes = [row.tobytes() for row in thumbnails(looks_NLL)] if look else [None] * len(images)
    sums = [None if image.channel_sums is None else image.channel_sums.ravel().tolist() for image in images]
    scaled = [None if image.scaled is None else list(map(float, image.scaled)) for image in images]
    values = [
        [image.content_hash for image in images],
        [SPLIT_CODES[row.split] for row, _ in accepted],
        [image.passed for image in images],
        sums,
        scaled,
        [image.has_further_frames for image in images],
        [image.single_color for image in images],
        hashes,
        thumbnail_bytes,
    ]
    for field, column in zip(FACTS, values, strict=True):
        stored = stored.append_column(field, pa.array(column, field.type))
    return stored
