"""Conversion of a column of any type to codes: equal values get equal codes, unknown values get none."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.statistics.contingency import UNKNOWN, Codes

Column: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[Any]


def encoded(column: Column) -> tuple[Codes, pa.Array]:
    """Returns codes in order of first appearance, and the value of each code; times as numbers.

    Null, NaN and text without a visible character are unknown and get `UNKNOWN`.
    """
    array = as_array(column)
    if pa.types.is_dictionary(array.type):
        dictionary = array.dictionary
        indices = indices_of(array)
        if len(dictionary) > len(indices):
            # A batch of few rows may come with the dictionary of all.
            used, indices[indices >= 0] = np.unique(indices[indices >= 0], return_inverse=True)
            dictionary = dictionary.take(pa.array(used))
        codes_N, values = _encoded(dictionary)
        # Two entries of a dictionary may have the same value, and an entry may be unknown.
        return np.append(codes_N, UNKNOWN)[indices], values
    return _encoded(array)


def codes_of_values(values: Sequence[object | None]) -> Codes:
    """Returns (N,) codes of equal values, in order of first appearance; None is `UNKNOWN`."""
    code_of: dict[object, int] = {}
    codes = (UNKNOWN if value is None else code_of.setdefault(value, len(code_of)) for value in values)
    return np.fromiter(codes, np.int64, len(values))


def as_array(column: Column) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.unify_dictionaries().combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column if isinstance(column, pa.Array) else pa.array(column)


def indices_of(array: pa.DictionaryArray) -> NDArray[np.int64]:
    """Returns the position in the dictionary of each value, `UNKNOWN` for null.

    Positions may have an unsigned type, as polars writes them.
    """
    return np.array(array.indices.cast(pa.int64()).fill_null(UNKNOWN))


def _encoded(array: pa.Array) -> tuple[Codes, pa.Array]:
    if pa.types.is_null(array.type):
        return np.full(len(array), UNKNOWN, np.int64), array.slice(0, 0)
    known = without_unknown(_as_numbers(array)).dictionary_encode()
    codes_N = known.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes_N, known.dictionary


def _as_numbers(array: pa.Array) -> pa.Array:
    """Returns times as numbers, because Arrow's times exceed the range of Python's."""
    if not pa.types.is_temporal(array.type):
        return array
    return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())


def without_unknown(array: pa.Array) -> pa.Array:
    """Replaces NaN and blank text by null."""
    if pa.types.is_floating(array.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        blank = pc.equal(pc.utf8_trim_whitespace(array), "")
        return pc.if_else(blank, pa.scalar(None, array.type), array)
    return array
