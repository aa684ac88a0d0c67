"""The objectives by name, and the blocks of `pretrain`, one per objective."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.base import (
    LONGEST_QUEUE,
    ClusterCount,
    Fraction,
    Iterations,
    QueueLength,
    Section,
    Temperature,
    Width,
)

MOST_HEADS = 32
"""Maximum number of heads of `multi_head`."""

Objective = Literal[
    "cl_infonce",
    "dual_head",
    "cross_entropy",
    "attribute_prediction",
    "cmc",
    "multi_head",
    "soft",
    "moco",
    "pcl",
    "swav",
    "byol",
    "simsiam",
    "iccl",
]


class DualHeadParams(Section):
    hidden: Width = Field(default=2048, description="width of both heads' three layers")


class CmcParams(Section):
    hidden: Width = Field(default=256, description="width of the layers that embed the attributes")


class MultiHeadParams(Section):
    columns: Annotated[list[str], Field(max_length=MOST_HEADS)] = Field(
        default=[],
        description=f"attribute columns, each with a head, up to {MOST_HEADS}; empty: all that repeat values",
    )
    weights: Annotated[list[Annotated[float, Field(gt=0.0, le=1e6)]], Field(max_length=MOST_HEADS)] = Field(
        default=[], description="of the columns' losses, in the order of columns; empty: all alike"
    )

    @model_validator(mode="after")
    def _each_weight_is_of_a_column(self) -> Self:
        if self.weights and len(self.weights) != len(self.columns):
            raise ValueError(
                f"pretrain.multi_head.weights holds {len(self.weights)} numbers, and "
                f"pretrain.multi_head.columns {len(self.columns)} columns: give each column its weight"
            )
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("pretrain.multi_head.columns names a column twice: leave one out")
        return self


class SoftParams(Section):
    values: int = Field(
        default=512,
        ge=1,
        le=10_000,
        description="values of attributes and hashtags that are compared, those of highest entropy",
    )


class MocoParams(Section):
    queue: QueueLength = Field(
        default=4096, description="earlier keys, the only candidates besides a view's positive key"
    )
    momentum: Fraction = Field(default=0.99, description="of the target network; 0.999 for long trainings")


class PclParams(Section):
    clusters: list[ClusterCount] = Field(
        default=[100, 200, 400],
        min_length=1,
        max_length=20,
        description="one k-means per number, at most half the images each; the loss is their mean",
    )
    negatives: int = Field(default=1024, ge=1, le=10**6, description="prototypes drawn as negatives")
    queue: QueueLength = Field(default=4096, description="number of earlier keys in the contrastive term")
    momentum: Fraction = Field(default=0.99, description="of the target network; 0.999 for long trainings")
    warmup_fraction: Fraction = Field(default=0.1, description="share of the epochs without prototypes")
    smoothing: float = Field(
        default=10.0, gt=0.0, le=1e6, description="limits the concentration of small clusters"
    )
    max_iter: Iterations = Field(default=20, description="iterations of k-means")


class SwavParams(Section):
    prototypes: int = Field(default=300, ge=2, le=100_000, description="3,000 for ImageNet")
    epsilon: float = Field(
        default=0.05, ge=0.001, le=100.0, description="entropy of the assignment; 0.03 if the loss stalls"
    )
    iterations: Iterations = Field(default=3, description="of the Sinkhorn-Knopp algorithm")
    queue: int = Field(
        default=1024, ge=0, le=LONGEST_QUEUE, description="earlier embeddings per view in the assignment"
    )
    queue_from: Fraction = Field(
        default=0.15, description="share of the training after which the queue is used"
    )
    frozen_fraction: Fraction = Field(default=0.05, description="share of the training with fixed prototypes")


class ByolParams(Section):
    hidden: Width = Field(default=1024, description="width of projector and predictor; 4,096 for ImageNet")
    momentum: Fraction = Field(default=0.99, description="initial, of the target network; it rises to 1")


class SimsiamParams(Section):
    hidden: Width = Field(
        default=32, description="width of the predictor's bottleneck: a quarter of projection_dim"
    )


class IcclParams(Section):
    hidden: Width = Field(default=1024, description="width of projector and predictor; 4,096 for ImageNet")
    momentum: Fraction = Field(default=0.99, description="initial, of the target network; it rises to 1")
    online_temperature: Temperature = 0.1
    target_temperature: Temperature = 0.07
    uniformity: float = Field(
        default=1.0, ge=0.0, le=1000.0, description="rho, the weight of the uniformity term; 5 for ImageNet"
    )
    start: Fraction = Field(
        default=0.5, description="share of the training at which clustering starts to take over"
    )
    end: Fraction = Field(default=0.6, description="share of the training at which it has taken over")
    constant: Fraction | None = Field(
        default=None,
        description="constant weight of clustering instead; 0: only similarity",
    )

    @model_validator(mode="after")
    def _it_starts_before_it_ends(self) -> Self:
        if self.start > self.end:
            raise ValueError(
                f"pretrain.iccl.start={self.start} is after pretrain.iccl.end={self.end}: swap them"
            )
        return self


class ObjectiveBlocks(Section):
    """The objectives' parameters, each block by the objective's name."""

    dual_head: DualHeadParams = DualHeadParams()
    cmc: CmcParams = CmcParams()
    multi_head: MultiHeadParams = MultiHeadParams()
    soft: SoftParams = SoftParams()
    moco: MocoParams = MocoParams()
    pcl: PclParams = PclParams()
    swav: SwavParams = SwavParams()
    byol: ByolParams = ByolParams()
    simsiam: SimsiamParams = SimsiamParams()
    iccl: IcclParams = IcclParams()
