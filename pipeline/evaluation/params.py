"""The section `evaluate` of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.section import PositiveInt, Section


class EvaluateParams(Section):
    protocol: Literal["lbfgs"] = "lbfgs"
    selection_fraction: float = Field(
        default=0.2, gt=0.0, lt=1.0, description="share of train on which the regularisation is chosen"
    )
    neighbours: PositiveInt = 20
