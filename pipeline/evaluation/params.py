"""The section `evaluate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.section import PositiveFloat, PositiveInt, Section, each_once

LabelFraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class SgdParams(Section):
    """The block of the protocol `sgd`."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = Field(
        default=0.3, description="at first; this times a factor from 0.001 to 3, chosen on a part of train"
    )


class EvaluateParams(Section):
    protocol: Literal["lbfgs", "sgd"] = Field(
        default="lbfgs", description="logistic regression, or a linear layer trained as the papers do"
    )
    selection_fraction: float = Field(
        default=0.2,
        gt=0.0,
        lt=1.0,
        description="share of train on which the regularisation or learning rate is chosen",
    )
    neighbours: PositiveInt = 20
    label_fractions: Annotated[list[LabelFraction], AfterValidator(each_once)] = Field(
        default=[], description="the same protocol again with only this share of each class's train labels"
    )
    transfer_from: str | None = Field(
        default=None,
        description="a folder with encoder.safetensors and config.json that is evaluated in place of the "
        "chosen arm's encoder; DVC does not watch it, so the stage re-runs when this parameter changes, "
        "not when the folder does",
    )
    sgd: SgdParams = SgdParams()
