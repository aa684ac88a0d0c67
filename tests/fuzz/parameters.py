"""Values for every parameter: at its bounds, beyond them, of other types, and made to do harm."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.params import Params

Schema = dict[str, Any]

OTHER_TYPES: list[Any] = [None, True, "", "64", [], [1], {}, {"a": 1}, "½", 1.5]
NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2,
    0.5,
    5e-324,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    -1e300,
    2**31,
    2**63,
    10**400,
]
TEXTS = [
    " ",
    "a\0b",
    "\ud800",
    "x" * 10_000,
    "x" * 4000,
    "x/" * 1500,
    "..",
    "/",
    "~nobody/x",
    "/dev/zero",
    "/proc/self/mem",
    "/etc/shadow",
    "nowhere.csv",
    "https://example.org/a.csv",
    "a\nb",
    "\u202eabc\x1b[2J",
    "label",
]
SMALL_STEP = 1e-9


@dataclass(frozen=True)
class Key:
    name: str
    """With dots."""
    schema: Schema

    def values(self) -> list[Any]:
        """Valid and invalid ones."""
        found = [*OTHER_TYPES]
        for option in self.schema.get("anyOf", [self.schema]):
            found += _values(option)
        return found

    def in_sections(self, value: Any) -> dict[str, Any]:
        sections: Any = value
        for part in reversed(self.name.split(".")):
            sections = {part: sections}
        result: dict[str, Any] = sections
        return result


def keys() -> list[Key]:
    schema = Params.model_json_schema()
    return [*_keys("", schema, schema["$defs"])]


def numbers(schema: Schema) -> Iterator[Schema]:
    """The parts of a parameter's schema that are numbers."""
    for option in schema.get("anyOf", [schema]):
        if option.get("type") == "array":
            yield from numbers(option["items"])
        elif option.get("type") in ("integer", "number"):
            yield option


def _keys(prefix: str, model: Schema, models: dict[str, Schema]) -> Iterator[Key]:
    for name, field in model["properties"].items():
        if reference := field.get("$ref"):
            yield from _keys(f"{prefix}{name}.", models[reference.rsplit("/", 1)[1]], models)
        else:
            yield Key(f"{prefix}{name}", field)


def _values(option: Schema) -> list[Any]:
    if "enum" in option:
        return [*option["enum"], *(str(choice).upper() for choice in option["enum"])]
    match option.get("type"):
        case "integer":
            return [*NUMBERS, *_around(option, 1)]
        case "number":
            return [*NUMBERS, *_around(option, SMALL_STEP)]
        case "string":
            return [*NUMBERS, *TEXTS]
        case "array":
            inner = _values(option["items"])
            return [*([one] for one in inner), inner[:2], [inner[0]] * 2, [inner[0]] * 10_001]
        case _:
            return [*NUMBERS, *TEXTS[:3], False]


def _around(option: Schema, step: float) -> list[Any]:
    """The bounds, what lies just inside of them, and just beyond."""
    bounds = [
        option[name]
        for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if name in option
    ]
    return [bound + change for bound in bounds for change in (-step, 0, step)]
