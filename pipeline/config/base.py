"""The base of every section of params.yaml."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipeline.storage.outputs import conflict_with_outputs

LARGEST_INTEGER = 2**63 - 1
LONGEST_TEXT = 10_000
LONGEST_PATH = 4095
"""Bytes: the limit of Linux."""


class Section(BaseModel):
    """Frozen and strict: refuses unknown keys and wrong types, and converts nothing implicitly.

    At any depth it also refuses values that cannot be stored or passed to other programs: invalid Unicode,
    text with a NUL or longer than `LONGEST_TEXT`, and integers of more than 64 bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_storable(cls, value: Any, info: ValidationInfo) -> Any:
        for path, leaf in _leaves(value, ""):
            if reason := _rejection(leaf):
                raise ValueError(f"{info.field_name}{path} {reason}" if path else reason)
        return value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Scalars and keys, each with the path of names to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield path, key
            yield from _leaves(part, f"{path}.{key}")
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, path)
    else:
        yield path, value


def _rejection(leaf: Any) -> str | None:
    if isinstance(leaf, int) and abs(leaf) > LARGEST_INTEGER:
        return "is out of range: an integer must fit into 64 bits"
    if not isinstance(leaf, str):
        return None
    if len(leaf) > LONGEST_TEXT:
        return f"holds {len(leaf):,} characters, more than {LONGEST_TEXT:,}: shorten it"
    if "\0" in leaf:
        return "holds a NUL character: remove it"
    try:
        leaf.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, such as \\ud800: remove it"
    return None


Named = TypeVar("Named", str, float)


def each_once(names: list[Named]) -> list[Named]:
    """Validator of lists without duplicates."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(f"names {min(repeated)} twice: name it once")
    return names


def _is_no_longer_than_a_path(text: str) -> str:
    if len(text.encode()) > LONGEST_PATH:
        raise ValueError(
            f"holds {len(text.encode()):,} bytes, and a path at most {LONGEST_PATH:,}: shorten it"
        )
    return text


def _is_no_place_of_outputs(text: str) -> str:
    if reason := conflict_with_outputs(Path(text)):
        raise ValueError(reason)
    return text


UniqueNames = Annotated[list[str], AfterValidator(each_once)]
PathText = Annotated[str, AfterValidator(_is_no_longer_than_a_path)]
OwnPath = Annotated[PathText, AfterValidator(_is_no_place_of_outputs)]
"""Of the user's own files: where a stage writes, they would be removed."""

# --- numbers ------------------------------------------------------------------------------------------------
# Each upper bound is beyond any sensible use: a larger value is a mistake, and would end in a traceback or
# run forever. Limits of the data or the machine are checked by the code that knows them.

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
SMALLEST_IMAGE_SIZE = 8
LARGEST_IMAGE_SIZE = 2048
ImageSize = Annotated[int, Field(ge=SMALLEST_IMAGE_SIZE, le=LARGEST_IMAGE_SIZE)]
ImageCount = Annotated[int, Field(ge=1, le=10**9)]
"""Ten times the images that docs/scale.md plans for."""
ClusterCount = Annotated[int, Field(ge=2, le=10**6)]
LARGEST_BATCH = 2**20
"""Images per step: the largest in published trainings (Zhai et al., arXiv 2303.15343)."""
BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Iterations = Annotated[int, Field(ge=1, le=1000)]
"""For algorithms that converge in tens of iterations."""
Width = Annotated[int, Field(ge=1, le=2**16)]
"""Width of a layer, up to the widest published head (Caron et al., arXiv 2104.14294)."""
LONGEST_QUEUE = 2**20
"""Sixteen times the queue in the paper on MoCo."""
QueueLength = Annotated[int, Field(ge=1, le=LONGEST_QUEUE)]
LearningRate = Annotated[float, Field(gt=0.0, le=1000.0)]
"""Up to 30 for linear layers on frozen features (He et al., arXiv 1911.05722)."""
Temperature = Annotated[float, Field(ge=0.001, le=100.0)]
"""For cosines: below the range rounding dominates the loss, above it the loss is nearly constant."""
