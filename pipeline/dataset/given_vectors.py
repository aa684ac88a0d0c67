"""Vectors that a user names in a parameter: embeddings of the images by any encoder.

`clinfonce embed` writes such a file; so does any program that writes a Parquet file with an id and a list of
numbers per row, or an array of NumPy. The file may be untrusted. Shape letters: N images, R rows of the file,
D numbers of a vector.
"""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError, first_line, listed, shown, system_error_message
from pipeline.storage.files import resolve_user_path
from pipeline.untrusted.isolation.parquet import Damaged, NotParquet, batches, parquet_headers
from pipeline.untrusted.safe_paths import SafePath

ID, VECTOR = "id", "vector"
ROWS_AT_ONCE = 512
"""A few kilobytes of Parquet can hold any number of equal rows, so that a batch is as large as it claims."""
MAGIC = b"\x93NUMPY"
LONGEST_VECTOR = 1 << 14
OTHERS_PER_BYTE, ALWAYS_OF_OTHERS = 32, 1 << 26
"""Maximum count of numbers in vectors of other images: for each byte of the file, and in any file. Vectors of
equal numbers take next to no bytes, however many rows claim them."""


class VectorsRefused(ValueError):
    """Raised if vectors cannot be used; the message is the reason, as a clause without a subject."""


def given_vectors(text: str, train: ImageSplit, parameter: str) -> NDArray[np.float32]:
    """Returns (N, D) vectors of the train images, each of length 1, from the file that `parameter` names.

    A Parquet file has the columns `id`, as in `data/images`, and `vector`; a `.npy` file has a row per train
    image in the order of `data/images`. Raises `UserError` for a file that lacks an image, repeats one, or
    holds other numbers.
    """
    path = resolve_user_path(text)
    try:
        return _unit_vectors(path, train)
    except VectorsRefused as why:
        raise UserError(f"{parameter}={shown(text)} {why}") from None


def _unit_vectors(path: Path, train: ImageSplit) -> NDArray[np.float32]:
    if not path.exists():
        raise VectorsRefused("does not exist: check its name and folder")
    ids = [str(name) for name in train.ids.to_pylist()]
    unit_ND = _of_numpy(path, train) if path.suffix == ".npy" else _by_id(path, ids)
    for what, found_N in (
        ("numbers that are not finite", ~np.isfinite(unit_ND).all(axis=1)),
        ("vectors of zeros, which have no direction,", ~unit_ND.any(axis=1)),
    ):
        if found_N.any():
            raise VectorsRefused(
                f"holds {what} for {int(found_N.sum()):,} of the {len(ids):,} train images, such as "
                f"{shown(ids[int(np.argmax(found_N))])}: compute these vectors again",
            )
    return unit_ND


def _unit(rows_RD: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the rows at length 1; zeros stay, and rows with numbers that are not finite become NaN."""
    rows_RD = rows_RD.astype(np.float64)
    with np.errstate(all="ignore"):
        # By the largest number first, since squares of large and small ones leave the range.
        rows_RD /= np.maximum(np.abs(rows_RD).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        lengths_R1 = np.linalg.norm(rows_RD, axis=1, keepdims=True)
        unit_RD: NDArray[np.float32] = (rows_RD / np.where(lengths_R1 == 0, 1, lengths_R1)).astype(np.float32)
    return unit_RD


def _of_numpy(path: Path, train: ImageSplit) -> NDArray[np.float32]:
    try:
        with SafePath(path).pinned() as pinned, warnings.catch_warnings(action="ignore"):
            with open(pinned, "rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise ValueError("it begins otherwise")
            array = None
            with suppress(MemoryError):  # of Python's parser, for a deep header: nothing is loaded here
                array = np.load(pinned, mmap_mode="r", allow_pickle=False)
            if array is None:
                raise ValueError("its header is damaged")
            if array.ndim != 2 or array.dtype.kind not in "fiu" or not 0 < array.shape[1] <= LONGEST_VECTOR:
                raise VectorsRefused(
                    f"holds {array.dtype} of shape {array.shape}: it must be numbers of shape (images, D)",
                )
            rows = len(train)
            # With rows of the test images, too, the order could also be that of the user's table.
            if len(array) != rows:
                raise VectorsRefused(
                    f"has {len(array):,} rows, and there are {rows:,} train images: write one row per train "
                    "image, in the order of data/images, or a Parquet file with ids",
                )
            parts = [_unit(array[first : first + ROWS_AT_ONCE]) for first in range(0, rows, ROWS_AT_ONCE)]
            return np.concatenate(parts)
    except Exception as error:  # NumPy evaluates the header, whose damage can raise almost anything
        if isinstance(error, VectorsRefused | OSError) or system_error_message(error):
            raise
        raise VectorsRefused(f"is no array of NumPy ({first_line(error)}): save it by numpy.save") from None


def _by_id(path: Path, ids: list[str]) -> NDArray[np.float32]:
    place_of = {name: place for place, name in enumerate(ids)}
    seen_N = np.zeros(len(ids), bool)
    vectors_ND: NDArray[np.float32] | None = None
    of_others, most_of_others = 0, max(ALWAYS_OF_OTHERS, OTHERS_PER_BYTE * path.stat().st_size)
    for names, rows_RD in _rows(path):
        if vectors_ND is None:
            vectors_ND = np.zeros((len(ids), rows_RD.shape[1]), np.float32)
        if rows_RD.shape[1] != vectors_ND.shape[1]:
            raise VectorsRefused("holds vectors of several lengths: they must come from one encoder")
        places = {row: place_of[name] for row, name in enumerate(names) if name in place_of}
        of_others += (len(names) - len(places)) * rows_RD.shape[1]
        if of_others > most_of_others:
            raise VectorsRefused(
                f"holds more than {most_of_others:,} numbers for other images than the train images, which "
                "are too many for its bytes: leave their rows out"
            )
        for (row, place), unit_D in zip(places.items(), _unit(rows_RD[list(places)]), strict=True):
            if seen_N[place]:
                raise VectorsRefused(f"has several vectors of {shown(names[row])}: keep one of each")
            seen_N[place] = True
            vectors_ND[place] = unit_D
    if vectors_ND is None or not seen_N.all():
        lacking = [ids[place] for place in np.flatnonzero(~seen_N)[:3]]
        raise VectorsRefused(
            f"lacks {int((~seen_N).sum()):,} of the {len(ids):,} train images, such as {listed(lacking)}: "
            "their ids are those of data/images, as `clinfonce embed data/images` writes them",
        )
    return vectors_ND


def _rows(path: Path) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    """Yields ids and vectors (R, D) of consecutive rows."""
    try:
        (header,) = parquet_headers([SafePath(path)])
    except NotParquet as error:
        raise VectorsRefused(f"can't be read as Parquet ({error})") from None
    if not {ID, VECTOR} <= set(header.schema.names):
        raise VectorsRefused(
            f"has the columns {listed(header.schema.names)}, and needs {ID} and {VECTOR}: rename them"
        )
    for name in (ID, VECTOR):
        if header.schema.names.count(name) > 1:
            raise VectorsRefused(f"has several columns {name}: rename them")
    if not _can_be_ids(kind := header.schema.field(ID).type):
        raise VectorsRefused(
            f"holds {shown(kind)} in {ID}: it must be the ids of data/images, which are texts"
        )
    for batch in batches(SafePath(path), ROWS_AT_ONCE, [ID, VECTOR]):
        if isinstance(batch, Damaged):
            raise VectorsRefused(f"is damaged ({batch.why})")
        names, vectors = batch.column(ID), batch.column(VECTOR)
        if not _is_list_of_numbers(vectors.type):
            raise VectorsRefused(
                f"holds {shown(vectors.type)} in {VECTOR}: it must be a list of numbers per row"
            )
        flat = vectors.flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        length = len(flat) // max(len(batch), 1)
        lengths = np.full(len(batch), length)
        if not pa.types.is_fixed_size_list(vectors.type):
            lengths = np.diff(vectors.offsets.to_numpy())
        if (
            vectors.null_count
            or names.null_count
            or not 0 < length <= LONGEST_VECTOR
            or (lengths != length).any()
        ):
            raise VectorsRefused("holds rows without an id or vector, or vectors of several lengths")
        yield [str(name) for name in names.to_pylist()], flat.reshape(-1, length)


def _can_be_ids(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _can_be_ids(kind.value_type)
    # Numbers are the ids of images that are called by numbers.
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
