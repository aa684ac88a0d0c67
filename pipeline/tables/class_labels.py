"""ClassLabel columns of Hugging Face `datasets`: Parquet stores numbers, and their names in the schema."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.untrusted.isolation.parquet import json_in_metadata


class NotAClass(ValueError):
    """Raised for a class number without a name; the message is the reason for which its row is refused."""


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Returns the class names of each column of ClassLabels or lists of them."""
    try:
        metadata = json_in_metadata(schema, b"huggingface")
        features = metadata["info"]["features"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    found = {name: _names_in(feature) for name, feature in features}
    return {name: names for name, names in found.items() if names}


def _names_in(feature: Any) -> list[str]:
    """Returns the class names of a feature. Lists are `[feature]` in older versions of `datasets`, else
    Sequence or List."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_in(feature[0])
    if not isinstance(feature, dict):
        return []
    if "feature" in feature:
        return _names_in(feature["feature"])
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def named_record(record: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """Returns `record` with class names instead of numbers in the columns of `names`. Raises `NotAClass`."""
    return record | {name: named(record[name], names[name]) for name in names.keys() & record.keys()}


def named(cell: Any, names: list[str]) -> Any:
    """Returns the class name of a number, or those of a list of numbers.

    A negative number is no class and gives None: `datasets` writes -1 for an unknown class, and accepts -100,
    which losses ignore. Raises `NotAClass`.
    """
    if isinstance(cell, list):
        return [named(part, names) for part in cell]
    if not isinstance(cell, int):
        return cell
    if cell < 0:
        return None
    if cell >= len(names):
        raise NotAClass(f"the class {cell} is none of the {len(names)} that the metadata name")
    return names[cell]
