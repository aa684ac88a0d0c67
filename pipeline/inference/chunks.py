"""An unfinished embedding on the disk, so that a killed run resumes.

The folder `<output>.parts/<fingerprint>/` beside the output has one file per few thousand images. The
fingerprint covers everything that determines the vectors: another encoder or changed images use another
folder, and never resume stale work. A finished embedding removes all of them.

The output may lie among untrusted images, and so may such a folder: links are not followed there, and a file
that is not exactly as `write_chunk` leaves it is recomputed. Chunks are tensors and not Parquet, whose reader
needs a separate process for untrusted files.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.inference.images.base import LONGEST_ID
from pipeline.inference.vectors import vectors_table
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.storage.files import write_atomically
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath
from pipeline.untrusted.tensor_files import MOST_OF_HEADER, check_header
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.walk import names_in

IMAGES_PER_CHUNK = 4096
FINGERPRINT = re.compile(r"[0-9a-f]{16}")
CHECKSUM_BYTES = 32
BYTES_OF_TEXT = 8 * LONGEST_ID
"""Maximum bytes of text per image, on average: its id, or its place and the reason why it is refused."""
_DAMAGE = (SafetensorError, ValueError, KeyError, TypeError)
"""Exceptions for bytes that are not a chunk."""


@dataclass(frozen=True)
class Chunk:
    """Some consecutive images: the vectors of those that can be used, and the refusals of the others."""

    ids: list[str]
    vectors_ND: NDArray[np.float32]
    refusals: list[Refusal]


def write_chunk(path: Path, ids: list[str], vectors_ND: NDArray[np.float32], refusals: list[Refusal]) -> None:
    tensors: dict[str, NDArray[np.generic]] = {"vectors": np.ascontiguousarray(vectors_ND)}
    for name, texts in (
        ("ids", ids),
        ("where", [refusal.where for refusal in refusals]),
        ("reason", [refusal.reason for refusal in refusals]),
    ):
        tensors |= _to_tensors(name, texts)
    content = save(tensors)
    write_atomically(path, lambda temporary: temporary.write_bytes(_checksum(content) + content))


class Chunks:
    def __init__(self, output: Path, fingerprint: str, count: int, schema: pa.Schema) -> None:
        """Raises `UserError` for a link in place of a folder, as may lie among untrusted images."""
        self._root = output.with_name(f"{output.name}.parts")
        self._folder = self._root / fingerprint
        for folder in (self._root, self._folder):
            if folder.is_symlink():
                raise UserError(f"{folder} is a link, and must be a folder for unfinished work: remove it")
        self._inside = Boundary.around(self._folder, "")
        self._schema = schema
        self.ranges = [
            (start, min(start + IMAGES_PER_CHUNK, count)) for start in range(0, count, IMAGES_PER_CHUNK)
        ]
        self.lock = self._root / "lock"

    def path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.chunk"

    def missing(self) -> list[int]:
        """Returns the numbers of the chunks that are still to be computed, in order.

        Raises `UserError` if the place of one holds something other than a file, before any is computed.
        """
        for number in range(len(self.ranges)):
            _check_place(self.path(number))
        return [number for number in range(len(self.ranges)) if self._read(number) is None]

    def refusals(self) -> list[Refusal]:
        """Returns the refusals of all images. Raises `UserError` as `tables` does."""
        return [refusal for chunk in self._all() for refusal in chunk.refusals]

    def tables(self) -> Iterator[pa.Table]:
        """Yields the vectors of all images. Raises `UserError` if a chunk is missing or was changed."""
        return (vectors_table(chunk.ids, chunk.vectors_ND, self._schema) for chunk in self._all())

    def discard(self) -> None:
        """Removes what embeddings wrote; other files are kept."""
        with suppress(UnsafePath):
            for name in names_in(Root(self._root, None))[0]:
                if FINGERPRINT.fullmatch(name):
                    shutil.rmtree(self._root / name, ignore_errors=True)  # does not follow links
        self.lock.unlink(missing_ok=True)
        with suppress(OSError):
            self._root.rmdir()

    def _all(self) -> Iterator[Chunk]:
        for number in range(len(self.ranges)):
            chunk = self._read(number)
            if chunk is None:
                raise UserError(
                    f"{self.path(number)} has changed since it was written: type the same command again"
                )
            yield chunk

    def _read(self, number: int) -> Chunk | None:
        """Reads a chunk; returns None if it is missing or invalid."""
        start, stop = self.ranges[number]
        images, dimension = stop - start, self._schema.field("vector").type.list_size
        most = CHECKSUM_BYTES + MOST_OF_HEADER + images * (BYTES_OF_TEXT + 4 * dimension)
        try:
            content = SafePath(self.path(number), self._inside).read_whole(most)
            chunk = None if content is None else _chunk_in(content)
        except (UnsafePath, *_DAMAGE):
            return None
        if chunk is None or not _fits(chunk, images, dimension):
            return None
        return chunk


def _check_place(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(
                f"{path} is a link, folder, pipe or device, and must be a file of unfinished work: remove it"
            )


def _chunk_in(content: bytes) -> Chunk:
    """Parses a chunk. Raises one of `_DAMAGE`."""
    checksum, content = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if checksum != _checksum(content):
        raise ValueError("a wrong checksum")
    check_header(content)
    tensors = load(content)
    ids, where, reason = (_from_tensors(name, tensors) for name in ("ids", "where", "reason"))
    return Chunk(ids, tensors["vectors"], [Refusal(*texts) for texts in zip(where, reason, strict=True)])


def _fits(chunk: Chunk, images: int, dimension: int) -> bool:
    """Returns whether the chunk holds the results of `images` images for an encoder of that `dimension`."""
    vectors_ND = chunk.vectors_ND
    return (
        len(chunk.ids) + len(chunk.refusals) == images
        and all(len(name) <= LONGEST_ID for name in chunk.ids)
        and vectors_ND.dtype == np.float32
        and (not chunk.ids or vectors_ND.shape == (len(chunk.ids), dimension))
        and bool(np.isfinite(vectors_ND).all())
    )


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECKSUM_BYTES).digest()


# --- texts --------------------------------------------------------------------------------------------------


def _to_tensors(name: str, texts: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Returns the concatenated bytes of the texts, and where each ends."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def _from_tensors(name: str, tensors: dict[str, NDArray[np.generic]]) -> list[str]:
    """Returns the texts. Raises `ValueError` for invalid ends, and for bytes that are not UTF-8."""
    content, ends = tensors[f"{name}.bytes"].tobytes(), tensors[f"{name}.ends"]
    if ends.dtype != np.int64 or ends.ndim != 1:
        raise ValueError("ends that are no numbers")
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    if (np.diff(starts) < 0).any() or starts[-1] != len(content):
        raise ValueError("ends in no order")
    return [content[start:end].decode() for start, end in zip(starts[:-1], ends, strict=True)]
