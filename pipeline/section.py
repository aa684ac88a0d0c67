"""The base of every section of params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Frozen and strict: unknown keys and wrong types are refused, nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0.0, le=1.0, strict=False)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0, strict=False)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, strict=False)]
