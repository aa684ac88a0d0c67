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
        default=0.3, description="initial; times a factor from 0.001 to 3, chosen on a part of train"
    )


class EvaluateParams(Section):
    protocol: Literal["lbfgs", "sgd"] = Field(
        default="lbfgs", description="logistic regression, or a linear layer trained by SGD as in the papers"
    )
    selection_fraction: float = Field(
        default=0.2,
        ge=0.01,
        le=0.5,
        description="share of train that chooses the regularisation or learning rate, rounded to one of a "
        "whole number of parts; with fewer than 500 rows, further parts are used",
    )
    neighbours: int = Field(default=20, ge=1, le=10_000)
    label_fractions: Annotated[list[LabelFraction], AfterValidator(each_once)] = Field(
        default=[],
        max_length=20,
        description="repeat the protocol with these shares of the train labels of each class",
    )
    transfer_from: PathText | None = Field(
        default=None,
        description="folder with encoder.safetensors and config.json to evaluate instead of the chosen arm's "
        "encoder; not a DVC dependency: the stage re-runs when this parameter changes, not when the folder "
        "does",
    )
    sgd: SgdParams = SgdParams()
