"""An encoder's config.json: what it takes to rebuild the network, and to feed it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.encoders.registry import check_name
from pipeline.ingest.params import LARGEST_IMAGE_SIZE, SMALLEST_IMAGE_SIZE, LowAndHigh

Mean = Annotated[float, Field(ge=0.0, le=1.0)]
Deviation = Annotated[float, Field(ge=1e-4, le=1.0)]
"""Pixels are 0 to 1. Of images that are all of one colour ingest notes a thousandth."""
ThreeMeans = Annotated[list[Mean], Field(min_length=3, max_length=3)]
ThreeDeviations = Annotated[list[Deviation], Field(min_length=3, max_length=3)]


class EncoderConfig(BaseModel):
    """Training writes it, and whoever reads an encoder checks by it: the folder may be a stranger's.

    The file has further keys, which tell of the training.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    encoder: str
    stem_stride: int
    feature_dim: Annotated[int, Field(ge=1)] | None = None
    """None: that of the network."""
    image_size: Annotated[int, Field(ge=SMALLEST_IMAGE_SIZE, le=LARGEST_IMAGE_SIZE)]
    mean: ThreeMeans
    deviation: ThreeDeviations
    value_range: LowAndHigh | None = None
    """Of images of more than 8 bits; encoders of earlier versions have none."""
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Encoders of earlier versions have none."""

    @field_validator("encoder", mode="before")
    @classmethod
    def _is_known(cls, name: object) -> object:
        check_name(name)
        return name

    @classmethod
    def checked(cls, values: Any) -> "EncoderConfig":
        """Raises `ValueError` with the first thing that is wrong, in a line."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
        key = next((str(part) for part in first["loc"]), "it")
        if first["type"] == "missing":
            raise ValueError(f"{key} is missing")
        if first["type"] == "value_error":
            raise ValueError(str(first["ctx"]["error"]))
        raise ValueError(f"{key} holds {first['input']!r:.80}: {first['msg'][0].lower()}{first['msg'][1:]}")
