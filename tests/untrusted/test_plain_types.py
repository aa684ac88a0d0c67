"""How much of Python's memory Arrow's values take, at most."""

import tracemalloc

import pyarrow as pa
import pytest

from pipeline.untrusted.isolation.plain_types import plain_schema, plain_type, size_in_python

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
}


@pytest.mark.parametrize("name", VALUES)
def test_the_size_is_not_below_what_python_takes(name: str) -> None:
    values = VALUES[name]
    tracemalloc.start()
    objects = values.to_pylist()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(objects) == len(values)
    # Containers count for more than a value each.
    assert taken <= 4 * size_in_python(values)


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
