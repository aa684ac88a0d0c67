"""How much of Python's memory Arrow's values take, at most."""

import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.untrusted.isolation.plain_types import (
    plain_schema,
    plain_type,
    size_in_python,
    with_times_as_text,
)


def nested(depth: int, value: Any, around: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        value = around(value)
    return value


VALUES = {
    "texts": pa.array(["red", None, "x" * 1000]),
    "wide": pa.array(["\N{GRINNING FACE}" + "x" * 10_000] * 10),
    "large texts": pa.array(["red"] * 100, pa.large_string()),
    "bytes": pa.array([b"x" * 1000] * 10),
    "bools": pa.array([[True, False] * 1000] * 20),
    "nulls": pa.array([[None] * 1000] * 20, pa.list_(pa.null())),
    "ints": pa.array([list(range(1000, 2000))] * 20, pa.list_(pa.int32())),
    "floats": pa.array([[float(k) for k in range(768)]] * 20, pa.list_(pa.float32(), 768)),
    "structs": pa.array([{"a": 1000 + k, "b": ["x", "y"]} for k in range(500)]),
    "times": pa.array([1_000_000 * k for k in range(1000)], pa.timestamp("us")),
    "empty lists": pa.array([[]] * 1000, pa.list_(pa.string())),
    "short texts": pa.array(["\N{HIRAGANA LETTER A}", "ab\N{EM DASH}"] * 500),
    "decimals": pa.array([Decimal("1.5")] * 1000),
    "long decimals": pa.array([Decimal("1." + "5" * 60)] * 1000, pa.decimal256(70, 60)),
    "durations": pa.array([10**12 + k for k in range(1000)], pa.duration("us")),
    "days": pa.array(list(range(1000, 2000)), pa.date32()),
    "times of a zone": pa.array([[10**12 + k] for k in range(1000)], pa.list_(pa.timestamp("us", "UTC"))),
    "nanoseconds": pa.array([[10**18 + 1000 * k] for k in range(1000)], pa.list_(pa.timestamp("ns"))),
    "intervals": pa.array([(1, 2, 3)] * 1000, pa.month_day_nano_interval()),
    "nested structs": pa.array([nested(20, True, lambda value: {"a": value})] * 1000),
    "nested lists": pa.array([nested(20, True, lambda value: [value])] * 1000),
    "lists of structs": pa.array([[{"a": None}] * 3] * 1000, pa.list_(pa.struct([("a", pa.null())]))),
    "empty structs": pa.array([{}] * 1000, pa.struct([])),
} | {
    f"structs of {fields}": pa.array([{f"field {k}": None for k in range(fields)}] * 200)
    for fields in (1, 5, 6, 10, 11, 21, 22, 42, 100, 1000)
}


@pytest.mark.parametrize("name", VALUES)
def test_the_size_is_not_below_what_python_takes(name: str) -> None:
    values = VALUES[name]
    tracemalloc.start()
    objects = values.to_pylist()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(objects) == len(values)
    assert taken <= size_in_python(values)


@pytest.mark.parametrize("name", ["times", "durations", "days"])
def test_nor_below_what_times_take_as_text(name: str) -> None:
    batch = with_times_as_text(pa.record_batch({"a": VALUES[name]}))
    tracemalloc.start()
    objects = batch.column(0).to_pylist()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(objects[0], str)
    assert taken <= size_in_python(VALUES[name])


@pytest.mark.parametrize("name", VALUES)
def test_the_size_of_a_part_is_that_of_its_rows(name: str) -> None:
    values = VALUES[name]
    half = len(values) // 2
    parts = size_in_python(values.slice(0, half)) + size_in_python(values.slice(half))
    assert parts == pytest.approx(size_in_python(values), rel=0.05, abs=100)


def test_a_dictionary_stays_where_no_list_repeats_it() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("a", kind), ("b", pa.list_(kind)), ("c", pa.uuid())], {"k": "v"})
    assert plain_schema(schema, keep_dictionaries=True).types == [
        kind,
        pa.list_(pa.string()),
        pa.binary(16),
    ]
    plain = plain_schema(schema)
    assert plain.types == [pa.string(), pa.list_(pa.string()), pa.binary(16)]
    assert plain.metadata == {b"k": b"v"}


def test_other_types_are_refused() -> None:
    union = pa.dense_union([pa.field("a", pa.int32()), pa.field("b", pa.string())])
    for kind in (
        union,
        pa.list_(union),
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.list_view(pa.int8()),
    ):
        with pytest.raises(ValueError, match="can't be read"):
            plain_type(kind)
