"""The section `pretrain` of params.yaml."""

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipeline.config.base import (
    LARGEST_BATCH,
    BatchSize,
    Epochs,
    Fraction,
    ImageSize,
    LearningRate,
    OwnPath,
    Section,
    Temperature,
    Width,
)
from pipeline.config.objectives import Objective, ObjectiveBlocks

EncoderName = Literal[
    "patch_resnet",
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
]
"""Also the only names of torchvision allowed in an encoder's folder: it builds others with downloaded
weights."""
TIMM_NAME = r"timm/[A-Za-z0-9_]{1,80}(\.[A-Za-z0-9_-]{1,80})?"
"""A network of timm, and the weights whose configuration it takes: no other place to load a network from."""
TimmName = Annotated[
    str, StringConstraints(pattern=f"^{TIMM_NAME}$"), Field(examples=["timm/convnext_tiny.fb_in22k"])
]
DOWNLOADED = "pretrained"
"""Value of `pretrain.weights`: the weights that belong to the network's name."""

Sigma = Annotated[float, Field(ge=0.01, le=1000.0)]
"""Pixels."""


class AugmentParams(Section):
    """Random augmentations for the two views of an image, drawn separately for each view."""

    crop_scale_min: float = Field(
        default=0.7, gt=0.0, le=1.0, description="smallest crop, as a share of the area; 0.4 in the papers"
    )
    flip_probability: Fraction = 0.5
    jitter_probability: Fraction = 0.8
    brightness: Fraction = 0.2
    contrast: Fraction = 0.2
    saturation: Fraction = 0.2
    hue: float = Field(default=0.03, ge=0.0, le=0.5, description="of a full turn")
    grayscale_probability: Fraction = 0.05
    blur_probability: Fraction = 0.0
    blur_sigma_min: Sigma = Field(default=0.1, description="pixels; the kernel is 10 % of the width")
    blur_sigma_max: Sigma = 2.0
    solarize_probability: Fraction = 0.0
    solarize_threshold: Fraction = Field(default=0.5, description="values from this one up are inverted")

    @model_validator(mode="after")
    def _blur_sigmas_are_a_range(self) -> Self:
        if self.blur_sigma_min > self.blur_sigma_max:
            raise ValueError(
                f"pretrain.augment.blur_sigma_min={self.blur_sigma_min} is above "
                f"pretrain.augment.blur_sigma_max={self.blur_sigma_max}: swap them, or make them equal"
            )
        return self


class TeacherParams(Section):
    """A further term of the loss of all arms: features that predict given vectors of their images."""

    vectors: OwnPath | None = Field(
        default=None,
        description="the vectors, such as CLIP's: .parquet with `id` and `vector`, as clinfonce embed writes "
        "it, or .npy in the order of data/images; null: no such term. Not a DVC dependency: after the file "
        "changes, `dvc repro -f` trains all arms again",
    )
    weight: float = Field(
        default=1.0, gt=0.0, le=1000.0, description="of 1 - cosine, which is 1 for features that know nothing"
    )


class _SharedParams(Section):
    """What trainings by any objective have."""

    objective: Objective = Field(
        default="cl_infonce", description="of the chosen arm; references always use Cl-InfoNCE"
    )
    form: Literal["out", "in", "pair"] = Field(
        default="out",
        description="mean over positives outside or inside the logarithm (SupCon's L_out, L_in); pair: the "
        "second view is of another image of the cluster; clusters have no other effect",
    )
    encoder: EncoderName | TimmName = Field(
        default="patch_resnet",
        description="a small network on whitened patches, a ResNet by its torchvision name, or any network "
        "of timm by its name after `timm/`",
    )
    weights: OwnPath | None = Field(
        default=None,
        description="what training starts from: a file or folder of weights, or `pretrained`, which "
        "downloads those that belong to the encoder's name; null: nothing. Not a DVC dependency: "
        "`dvc repro -f start` reads a changed file",
    )
    freeze: Annotated[float, Field(ge=0.0, lt=1.0)] | Literal["all"] = Field(
        default=0.0,
        description="share of the encoder's stages, from the first, that stay as they are; 0: none; all: "
        "only a linear layer above the encoder is trained, on features that are computed once",
    )
    frozen_views: int = Field(
        default=4,
        ge=2,
        le=256,
        description="random views of an image whose features are computed, if freeze is all",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="compute activations again for the gradient instead of keeping them, in less memory "
        "and one more forward pass; networks of timm alone",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="factor of the learning rate of each layer against the one behind it; 1: all alike",
    )
    image_size: ImageSize | None = Field(
        default=None, description="side of the views in pixels; null: ingest.image_size"
    )
    stem_stride: Literal[1, 2, 4, "auto"] = Field(
        default="auto",
        description="stride of the first layer in pixels; auto: 1 for ResNets below 48 px, 2 below "
        "128 px, else 4; 2 for patch_resnet below 64 px, else 4; that of the weights if there are any",
    )
    projection_dim: Width = 128
    epochs: Epochs = 9
    batch_size: int = Field(
        default=128, ge=2, le=LARGEST_BATCH, description="images per step, with two views each"
    )
    micro_batch: BatchSize | None = Field(
        default=None,
        description="images per forward pass, if memory does not hold a batch; the loss still uses the whole "
        "batch, batch norm uses the part",
    )
    sampler: Literal["shuffle", "cluster"] = Field(
        default="shuffle", description="cluster: batches contain pairs of images of a cluster"
    )
    optimizer: Literal["muon", "adamw", "sgd", "lars"] = Field(
        default="muon", description="lars for batches above 1,024 images"
    )
    learning_rate: LearningRate = 4e-3
    momentum: float = Field(
        default=0.95, ge=0.0, lt=1.0, description="of sgd and muon (Nesterov's), and of lars"
    )
    weight_decay: float = Field(default=1e-4, ge=0.0, le=100.0, description="not applied to biases and norms")
    warmup_fraction: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="share of the steps with a rising rate"
    )
    temperature: Temperature = 0.2
    recluster_every: int = Field(
        default=1,
        ge=0,
        le=100_000,
        description="epochs between re-clusterings, if the method re-clusters; 0: never",
    )
    nonfinite_rate_factor: float = Field(
        default=0.5,
        gt=0.0,
        le=1.0,
        description="factor of the learning rate after a loss that is not finite, when training returns once "
        "to the previous state; 1: the same rate, which helps only against hardware errors",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 if the device supports it"
    )
    teacher: TeacherParams = TeacherParams()
    augment: AugmentParams = AugmentParams()


class PretrainParams(ObjectiveBlocks, _SharedParams):
    @field_validator("encoder", mode="before")
    @classmethod
    def _is_an_encoder(cls, name: object) -> object:
        if name in get_args(EncoderName) or (isinstance(name, str) and re.fullmatch(TIMM_NAME, name)):
            return name
        names = ", ".join(get_args(EncoderName))
        raise ValueError(
            f"must be one of {names}, or a network of timm such as timm/convnext_tiny, not {name!r:.80}"
        )

    @field_validator("freeze", mode="before")
    @classmethod
    def _is_a_share_or_all(cls, freeze: object) -> object:
        if freeze == "all":
            return freeze
        if isinstance(freeze, int | float) and not isinstance(freeze, bool) and 0 <= freeze < 1:
            return freeze
        raise ValueError(f"is out of range: it is a share from 0 to below 1, or all, not {freeze!r:.80}")

    @field_validator("stem_stride", mode="before")
    @classmethod
    def _is_a_whole_number(cls, stride: object) -> object:
        # True and 2.0 equal 1 and 2, and would be accepted as them.
        if isinstance(stride, bool | float):
            raise ValueError(f"must be 1, 2, 4 or auto, not {stride}")
        return stride

    def of_references(self) -> "PretrainParams":
        """The parameters of the references, which are always trained as SimCLR and SupCon."""
        return PretrainParams.model_validate(self.model_dump(exclude={"objective", *get_args(Objective)}))

    @model_validator(mode="after")
    def _strides_belong_to_small_image_stems(self) -> Self:
        if self.encoder.startswith("timm/") and self.stem_stride != "auto":
            raise ValueError(
                f"pretrain.stem_stride={self.stem_stride} has no effect on pretrain.encoder={self.encoder}, "
                "whose first layer timm determines: leave it at auto"
            )
        return self

    @model_validator(mode="after")
    def _an_encoder_that_stays_has_weights(self) -> Self:
        if self.freeze == "all" and self.weights is None:
            raise ValueError(
                "pretrain.freeze=all keeps the encoder as it came, and pretrain.weights names no weights: "
                "set them, or leave pretrain.freeze at 0"
            )
        if self.freeze == "all" and self.layer_decay != 1:
            raise ValueError(
                f"pretrain.layer_decay={self.layer_decay} has no effect with pretrain.freeze=all: leave it "
                "at 1"
            )
        return self

    @model_validator(mode="after")
    def _a_teacher_knows_the_image_of_each_view(self) -> Self:
        if self.teacher.vectors is not None and self.form == "pair":
            raise ValueError(
                "pretrain.teacher has the vectors of first views alone with pretrain.form=pair, whose second "
                "views are of other images: set pretrain.form=out, or leave pretrain.teacher.vectors empty"
            )
        return self

    @model_validator(mode="after")
    def _checkpointing_belongs_to_timm(self) -> Self:
        if self.gradient_checkpointing and (not self.encoder.startswith("timm/") or self.freeze == "all"):
            raise ValueError(
                f"pretrain.gradient_checkpointing has no effect on pretrain.encoder={self.encoder} with "
                f"pretrain.freeze={self.freeze}: leave it at false, or name a network of timm that is trained"
            )
        return self

    @model_validator(mode="after")
    def _forms_belong_to_cl_infonce(self) -> Self:
        if self.form == "pair" and self.objective != "cl_infonce":
            raise ValueError(
                f"pretrain.form=pair has no effect on pretrain.objective={self.objective}: leave it at out"
            )
        if self.form == "in" and self.objective != "cl_infonce":
            raise ValueError(
                f"pretrain.form=in has no effect on pretrain.objective={self.objective}: leave it at out"
            )
        return self

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> Self:
        if self.optimizer == "adamw" and "momentum" in self.model_fields_set and self.momentum != 0.95:
            raise ValueError(
                "pretrain.momentum has no effect with pretrain.optimizer=adamw: leave it at 0.95 or use sgd"
            )
        return self

    @model_validator(mode="after")
    def _a_batch_can_be_divided(self) -> Self:
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(
                f"pretrain.micro_batch={self.micro_batch} does not divide "
                f"pretrain.batch_size={self.batch_size}: choose a divisor"
            )
        if self.sampler == "cluster" and self.batch_size % 2:
            raise ValueError(
                f"pretrain.sampler=cluster fills batches with pairs, and pretrain.batch_size="
                f"{self.batch_size} is odd: choose an even one"
            )
        return self
