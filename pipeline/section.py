"""The base of every section of params.yaml."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

LARGEST_INTEGER = 2**63 - 1
LONGEST_TEXT = 10_000


class Section(BaseModel):
    """Frozen and strict: unknown keys and wrong types are refused, nothing is converted in silence.

    So is, in every field and at any depth, what can't be written down or passed on: text that is no Unicode,
    holds a NUL or is longer than `LONGEST_TEXT`, and integers of more than 64 bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_passed_on(cls, value: Any, info: ValidationInfo) -> Any:
        for path, leaf in _leaves(value, ""):
            if reason := _why_not(leaf):
                raise ValueError(f"{info.field_name}{path} {reason}" if path else reason)
        return value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Values that are no lists or maps, and keys, each with the names on the way to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield path, key
            yield from _leaves(part, f"{path}.{key}")
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, path)
    else:
        yield path, value


def _why_not(leaf: Any) -> str | None:
    if isinstance(leaf, int) and abs(leaf) > LARGEST_INTEGER:
        return "is out of range: an integer must fit into 64 bits"
    if not isinstance(leaf, str):
        return None
    if len(leaf) > LONGEST_TEXT:
        return f"holds {len(leaf):,} characters: the most are {LONGEST_TEXT:,}"
    if "\0" in leaf:
        return "holds a NUL character: take it out"
    try:
        leaf.encode()
    except UnicodeEncodeError:
        return "holds half a character, such as \\ud800: take it out"
    return None


Named = TypeVar("Named", str, float)


def each_once(names: list[Named]) -> list[Named]:
    """For lists in which nothing may stand twice."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(f"names {min(repeated)} twice: name it once")
    return names


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
UniqueNames = Annotated[list[str], AfterValidator(each_once)]
