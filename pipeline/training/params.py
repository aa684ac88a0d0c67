"""The section `pretrain` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section


class AugmentParams(Section):
    """Random changes that make two views of one image; each is drawn anew for every image."""

    crop_scale_min: float = Field(
        default=0.4, gt=0.0, le=1.0, description="smallest crop, as a share of the area"
    )
    flip_probability: Fraction = 0.5
    jitter_probability: Fraction = 0.8
    brightness: Fraction = 0.4
    contrast: Fraction = 0.4
    saturation: Fraction = 0.4
    hue: float = Field(default=0.1, ge=0.0, le=0.5, description="of a full turn")
    grayscale_probability: Fraction = 0.2


class PretrainParams(Section):
    objective: Literal["cl_infonce"] = "cl_infonce"
    encoder: Literal[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnext50_32x4d",
        "resnext101_32x8d",
        "resnext101_64x4d",
        "wide_resnet50_2",
        "wide_resnet101_2",
    ] = Field(default="resnet18", description="a ResNet by its torchvision name")
    stem_stride: Literal[1, 2, 4, "auto"] = Field(
        default=4,
        description="pixels a step before the first block: 1 for 32 px images, 2 for 64, 4 for 224",
    )
    projection_dim: PositiveInt = 128
    epochs: PositiveInt = 9
    batch_size: int = Field(default=128, ge=2, description="images a step; each gives two views")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 2e-3
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0, description="of sgd, Nesterov's")
    weight_decay: NonNegativeFloat = 1e-4
    warmup_fraction: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="share of the steps with a rising rate"
    )
    temperature: PositiveFloat = 0.2
    recluster_every: int = Field(
        default=1, ge=0, description="epochs between re-clusterings, where the method re-clusters; 0: never"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 where the device computes in it"
    )
    augment: AugmentParams = AugmentParams()

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> Self:
        if self.optimizer == "adamw" and "momentum" in self.model_fields_set and self.momentum != 0.95:
            raise ValueError(
                "pretrain.momentum has no effect with pretrain.optimizer=adamw: leave it at 0.95 or use sgd"
            )
        return self
