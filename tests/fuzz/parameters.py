"""Values for every parameter: at its bounds, beyond them, of other types, and made to do harm."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config.params import Params

Schema = dict[str, Any]
Sections = dict[str, Any]

OTHER_TYPES: list[Any] = [None, True, "", "64", [], [1], {}, {"a": 1}, "½", 1.5]
NUMBERS: list[Any] = [0, -1, 1, 2, 0.5, 5e-324, -0.0, 1e300, -1e300, 2**31, 2**63, 10**400]
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf]
TEXTS = [
    *(" ", "label", "nowhere.csv", "https://example.org/a.csv", "x" * 4000, "x" * 10_000, "x/" * 1500),
    *("..", "/", "~nobody/x", "/dev/zero", "/proc/self/mem", "/etc/shadow"),
    *("a\0b", "\ud800", "a\nb", "\u202eabc\x1b[2J"),
]
LONGEST_LIST = 10_001

NEEDED: dict[str, Sections] = {
    **{
        f"cluster.{method}": {"cluster": {"method": method}}
        for method in (
            "attributes",
            "hierarchy",
            "column",
            "kmeans",
            "random",
            "coarsen",
            "subdivide",
            "permute",
        )
    },
    "cluster.hashtags": {"cluster": {"method": "hashtags"}},
    "cluster.hashtags.clusters": {"cluster": {"method": "hashtags", "hashtags": {"mode": "topics"}}},
    "cluster.hashtags.components": {"cluster": {"method": "hashtags", "hashtags": {"mode": "topics"}}},
    "cluster.missing": {"cluster": {"method": "hashtags"}},
    "cluster.min_size": {"cluster": {"method": "attributes", "small": "nearest"}},
    "cluster.small": {"cluster": {"method": "attributes", "min_size": 5}},
    **{
        f"pretrain.{objective}": {"pretrain": {"objective": objective}}
        for objective in ("dual_head", "cmc", "moco", "byol", "simsiam", "iccl")
    },
    "pretrain.pcl": {"pretrain": {"objective": "pcl", "pcl": {"warmup_fraction": 0.0, "clusters": [8]}}},
    "pretrain.swav": {"pretrain": {"objective": "swav", "swav": {"queue_from": 0.0, "queue": 32}}},
    "pretrain.augment": {"pretrain": {"augment": {"blur_probability": 0.9, "solarize_probability": 0.9}}},
    "evaluate.sgd": {"evaluate": {"protocol": "sgd", "sgd": {"epochs": 3}}},
    "ingest.columns": {"ingest": {"source": "manifest", "path": "source/manifest.csv"}},
    "ingest.path": {"ingest": {"source": "manifest"}},
    "ingest.source": {"ingest": {"path": "source"}},
    "ingest.image_size": {"ingest": {"synthetic": {"images": 10}}},
    "ingest.imagenet": {"ingest": {"source": "imagenet", "path": "source"}},
    "ingest.clinfonce_tables": {"ingest": {"source": "clinfonce_tables", "path": "source"}},
    "ingest.torchvision": {
        "ingest": {"source": "torchvision", "path": "source", "torchvision": {"download": False}}
    },
}
"""By the beginning of a name what else is set, so that a stage reads the parameter."""


@dataclass(frozen=True)
class Key:
    name: str
    """With dots."""
    schema: Schema

    def values(self) -> list[Any]:
        """Valid and invalid ones, each once."""
        found = [*OTHER_TYPES, *NO_NUMBERS]
        for option in self.schema.get("anyOf", [self.schema]):
            found += _values(option)
        return list({repr(value): value for value in found}.values())

    def in_sections(self, value: Any) -> Sections:
        sections: Any = value
        for part in reversed(self.name.split(".")):
            sections = {part: sections}
        result: Sections = sections
        return result

    def with_what_it_needs(self, value: Any) -> Sections:
        together: Sections = {}
        for beginning in sorted(NEEDED, key=len):
            if f"{self.name}.".startswith(f"{beginning}."):
                together = merged(together, NEEDED[beginning])
        values: Sections = merged(together, self.in_sections(value))
        return values


def merged(values: Any, changes: Any) -> Any:
    """`values` with `changes`; neither is touched."""
    if not (isinstance(values, dict) and isinstance(changes, dict)):
        return changes
    return values | {key: merged(values.get(key), change) for key, change in changes.items()}


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
        return [*option["enum"], *(str(choice).upper() for choice in option["enum"]), *NUMBERS]
    match option.get("type"):
        case "integer" | "number":
            return [*NUMBERS, *_bounds(option)]
        case "string":
            return [*NUMBERS, *TEXTS]
        case "array":
            inner = _values(option["items"])
            return [*([one] for one in inner), inner[:2], [inner[0]] * 2, [inner[0]] * LONGEST_LIST]
        case _:
            return [*NUMBERS, *TEXTS[:3], False]


def _bounds(option: Schema) -> Iterator[float]:
    """And what lies just beyond."""
    step = 1 if option["type"] == "integer" else 1e-9
    for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if name in option:
            yield from (option[name], option[name] + (step if "aximum" in name else -step))
