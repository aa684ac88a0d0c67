"""The section `evaluate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.base import BatchSize, LearningRate, PathText, Section, each_once

LabelFraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class SgdParams(Section):
    """The block of the protocol `sgd`."""

    epochs: int = Field(default=100, ge=1, le=10_000)
    batch_size: BatchSize = 128
    learning_rate: LearningRate = Field(
        default=0.3, description="at first; this times a factor from 0.001 to 3, chosen on a part of train"
    )


class EvaluateParams(Section):
    protocol: Literal["lbfgs", "sgd"] = Field(
        default="lbfgs", description="logistic regression, or a linear layer trained as the papers do"
    )
    selection_fraction: float = Field(
        default=0.2,
        ge=0.01,
        le=0.5,
        description="share of train on which the regularisation or learning rate is chosen, as one of a "
        "whole number of parts; where one has fewer than 500 rows, further ones choose, too",
    )
    neighbours: int = Field(default=20, ge=1, le=10_000)
    label_fractions: Annotated[list[LabelFraction], AfterValidator(each_once)] = Field(
        default=[],
        max_length=20,
        description="the same protocol again with only this share of each class's train labels",
    )
    transfer_from: PathText | None = Field(
        default=None,
        description="a folder with encoder.safetensors and config.json that is evaluated in place of the "
        "chosen arm's encoder; DVC does not watch it, so the stage re-runs when this parameter changes, "
        "not when the folder does",
    )
    sgd: SgdParams = SgdParams()
