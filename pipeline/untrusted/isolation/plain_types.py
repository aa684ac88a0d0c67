"""Arrow types that do not hide how large a value is, and the memory that values take in Python.

A dictionary inside a list repeats one long text for each of a million items; a list of a million bools takes
125 kB in Arrow and 8 MB in Python. The sizes that Arrow reports show neither.
"""

import pyarrow as pa
import pyarrow.types as types

DEEPEST = 50
"""Maximum nesting of lists and structs; Arrow's streams allow 64 levels."""
BYTES_PER_STRUCT, BYTES_PER_LIST, BYTES_PER_TEXT, BYTES_PER_TIME, BYTES_PER_VALUE = 200, 88, 88, 136, 48
"""Bytes of a Python object, with its place in a list: a dict and an empty list, whose items are counted
separately; a text without its characters; a time or a decimal, which may become a text; any other value."""
BYTES_PER_LETTER = 4
"""Bytes per character of a text that has a wide one."""


def plain_schema(schema: pa.Schema, *, keep_dictionaries: bool = False) -> pa.Schema:
    """Returns the schema to which a file's batches are cast.

    `keep_dictionaries`: keeps those of whole columns of single values, which no list repeats. Raises
    `ValueError` for a column of a type that can't be read, or nested too deep.
    """
    return pa.schema(
        [field.with_type(_plain_column(field, keep_dictionaries)) for field in schema], schema.metadata
    )


def _plain_column(field: pa.Field, keep_dictionaries: bool) -> pa.DataType:
    kind = field.type
    try:
        if keep_dictionaries and types.is_dictionary(kind):
            return pa.dictionary(kind.index_type, plain_type(kind.value_type), kind.ordered)
        return plain_type(kind)
    except ValueError as error:
        raise ValueError(f"its column {field.name}: {error}") from None


def plain_type(kind: pa.DataType, depth: int = 0) -> pa.DataType:
    """Returns a type of only lists, structs and single values. Raises `ValueError` as `plain_schema` does."""
    if depth > DEEPEST:
        raise ValueError(f"lists and structs are nested more than {DEEPEST} deep")
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type, depth + 1)
    if types.is_dictionary(kind):
        return plain_type(kind.value_type, depth + 1)
    if types.is_struct(kind):
        return pa.struct([_plain_field(field, depth) for field in kind])
    if types.is_map(kind):
        key, value = _plain_field(kind.key_field, depth), _plain_field(kind.item_field, depth)
        return pa.list_(pa.struct([key.with_name("key"), value.with_name("value")]))
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field, depth), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field, depth))
    if types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field, depth))
    # These include list views: Arrow 26 casts them to broken lists.
    if types.is_nested(kind) or types.is_run_end_encoded(kind):
        raise ValueError(f"values of {str(kind)[:100]} can't be read")
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def _plain_field(field: pa.Field, depth: int) -> pa.Field:
    return field.with_type(plain_type(field.type, depth + 1))


OUT_OF_RANGE = "<value out of range"
"""The text that Arrow writes for times that it can't format."""


def with_times_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the batch with dates and times as text, also beyond Python's calendar, and durations as the
    number in their unit. Times with a zone, known to Python or not, are in UTC. Raises `ValueError` for a
    time that no calendar holds."""
    columns = [
        _time_as_text(column) if types.is_temporal(column.type) else column for column in batch.columns
    ]
    return pa.record_batch(columns, batch.schema.names)


def _time_as_text(times: pa.Array) -> pa.Array:
    # Imported here, since the process that reads the files, and must start at once, does not need it.
    import pyarrow.compute as pc

    kind = times.type
    zoned = types.is_timestamp(kind) and kind.tz is not None
    written = (times.cast(pa.timestamp(kind.unit)) if zoned else times).cast(pa.string())
    if pc.any(pc.match_substring(written, OUT_OF_RANGE)).as_py():
        raise ValueError("a time beyond every calendar")
    short = pc.replace_substring_regex(written, r"(\.\d*?)0+$", r"\1")
    short = pc.replace_substring_regex(short, r"\.$", "")
    return pc.binary_join_element_wise(short, "Z", "") if zoned else short


def size_in_python(values: pa.Array) -> int:
    """Returns an upper bound of the bytes of the plain `values` as Python objects."""
    kind, size = values.type, _size_of_object(values.type) * len(values)
    if types.is_dictionary(kind):
        return size + size_in_python(values.dictionary)
    if types.is_struct(kind):
        return size + sum(size_in_python(field) for field in values.flatten())
    if types.is_nested(kind):
        return size + size_in_python(values.flatten())
    return size + (BYTES_PER_LETTER if _is_text(kind) else 1) * int(values.nbytes)


def _size_of_object(kind: pa.DataType) -> int:
    if types.is_struct(kind):
        return BYTES_PER_STRUCT
    if types.is_nested(kind):
        return BYTES_PER_LIST
    if _is_text(kind):
        return BYTES_PER_TEXT
    return BYTES_PER_TIME if types.is_temporal(kind) or types.is_decimal(kind) else BYTES_PER_VALUE


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))
