"""The base of every section of params.yaml."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Frozen and strict: unknown keys and wrong types are refused, nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Named = TypeVar("Named", str, float)


def each_once(names: list[Named]) -> list[Named]:
    """For lists in which nothing may stand twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"names {repeated[0]} twice: name it once")
    return names


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
UniqueNames = Annotated[list[str], AfterValidator(each_once)]
