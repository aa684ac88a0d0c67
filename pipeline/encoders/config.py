"""The config.json of an encoder: how to rebuild the network and to prepare its inputs."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.config.base import ImageSize
from pipeline.config.ingest import LowAndHigh
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import check_name
from pipeline.encoders.timm_arguments import TimmArguments

Mean = Annotated[float, Field(ge=0.0, le=1.0)]
Deviation = Annotated[float, Field(ge=1e-4, le=1.0)]
"""Standard deviation of pixels from 0 to 1; for images of a single colour ingest records 0.001."""
ThreeMeans = Annotated[list[Mean], Field(min_length=3, max_length=3)]
ThreeDeviations = Annotated[list[Deviation], Field(min_length=3, max_length=3)]


class EncoderConfig(BaseModel):
    """The configuration of an encoder, validated whenever it is read, as its folder may be untrusted.

    Training writes it. The file has further keys, which describe the training.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    encoder: str
    stem_stride: int | None
    """None for networks of timm."""
    has_adapter: bool = False
    """Whether a linear layer follows the network."""
    timm_arguments: TimmArguments | None = None
    feature_dim: Annotated[int, Field(ge=1)] | None = None
    """None means the number of the network."""
    image_size: ImageSize
    """Side of the images that the network takes."""
    stored_size: ImageSize | None = None
    """Pixels to which the shorter side of an image is scaled down first, as ingest stores it; None:
    `image_size`."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: Annotated[float, Field(ge=0.1, le=1.0)] = 1.0
    """Side of the central crop as a share of the largest central square's."""
    mean: ThreeMeans
    std: ThreeDeviations
    value_range: LowAndHigh | None = None
    """Values that become black and white in images of more than 8 bits. None, as in earlier versions, scales
    by the values of each image."""
    train_images: Annotated[int, Field(ge=0)] | None = None
    """Number of images that it was trained on; None for given weights and in earlier versions."""
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """None in earlier versions."""

    @field_validator("encoder", mode="before")
    @classmethod
    def _is_known(cls, name: object) -> object:
        check_name(name)
        return name

    @property
    def architecture(self) -> Architecture:
        return Architecture(
            self.encoder, self.stem_stride, self.image_size, self.has_adapter, self.timm_arguments
        )

    @classmethod
    def checked(cls, values: Any) -> "EncoderConfig":
        """Validates `values`. Raises `ValueError` with the first error, in one line."""
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
