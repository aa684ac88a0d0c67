import datetime
import decimal

import pyarrow as pa
import pytest

from pipeline.statistics.contingency import UNKNOWN
from pipeline.statistics.values import Column, encoded, indices_of


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 5, None, 3], pa.int8()),
        pa.array([2**63 - 1, -(2**63), None, 2**63 - 1], pa.int64()),
        pa.array([2**64 - 1, 0, None, 2**64 - 1], pa.uint64()),
        pa.array([1.5, -0.25, None, 1.5], pa.float32()),
        pa.array([1.5, -0.25, float("nan"), 1.5], pa.float64()),
        pa.array([True, False, None, True]),
        pa.array(["a", "b", None, "a"]),
        pa.array(["a", "b", "", "a"], pa.large_string()),
        pa.array(["a", "b", " \t", "a"]),
        pa.array(["a", "b", None, "a"]).dictionary_encode(),
        pa.array([1.5, 2.5, None, 1.5]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 3, 2]), pa.array(["a", "b", "a", ""])),
        pa.array([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1), None, datetime.date(2020, 1, 1)]),
        pa.array([decimal.Decimal("1.1"), decimal.Decimal("2"), None, decimal.Decimal("1.1")]),
        pa.chunked_array([["a", "b"], [None, "a"]]),
        pa.chunked_array(
            [pa.array(["a", "b"]).dictionary_encode(), pa.array([None, "a"]).dictionary_encode()]
        ),
        ["a", "b", None, "a"],
        [7, 9, None, 7],
    ],
    ids=str,
)
def test_equal_values_get_equal_codes_and_unknown_ones_none(column: Column) -> None:
    codes_N, values = encoded(column)
    assert codes_N.tolist() == [0, 1, -1, 0]
    assert len(values) >= 2


def test_a_column_of_nulls_has_no_value() -> None:
    codes_N, values = encoded(pa.nulls(3))
    assert codes_N.tolist() == [-1, -1, -1]
    assert len(values) == 0


def test_an_empty_chunked_column() -> None:
    codes_N, _ = encoded(pa.chunked_array([], pa.string()))
    assert codes_N.size == 0


def test_of_a_large_dictionary_only_the_used_values_are_coded() -> None:
    """As each batch of a Parquet file comes with the dictionary of all."""
    texts = pa.array([f"v{n}" for n in range(1000)] + ["v3", " "])
    indices = pa.array([7, 3, None, 1000, 1001, 7], pa.int32())
    codes_N, values = encoded(pa.DictionaryArray.from_arrays(indices, texts))
    assert codes_N.tolist() == [1, 0, UNKNOWN, 0, UNKNOWN, 1]
    assert sorted(values.to_pylist()) == ["v3", "v7"]


@pytest.mark.parametrize(
    "kind", [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.int8(), pa.int64()], ids=str
)
def test_the_positions_in_a_dictionary_may_have_any_type(kind: pa.DataType) -> None:
    indices, texts = pa.array([2, 0, None, 2, 1], kind), pa.array(["a", " ", "c"])
    column = pa.DictionaryArray.from_arrays(indices, texts)
    assert indices_of(column).tolist() == [2, 0, UNKNOWN, 2, 1]
    codes_N, values = encoded(pa.chunked_array([column, column]))
    assert codes_N.tolist() == 2 * [1, 0, UNKNOWN, 1, UNKNOWN]
    assert values.to_pylist() == ["a", "c"]
    assert indices_of(column.slice(2)).tolist() == [UNKNOWN, 2, 1]
    assert encoded(column.slice(0, 2))[0].tolist() == [1, 0]
