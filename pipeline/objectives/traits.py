"""Properties of each objective, for code that describes a training without importing torch."""

from typing import Literal, NamedTuple


class Traits(NamedTuple):
    """What an objective reads, and how its loss behaves."""

    learns_from: Literal["clusters", "attributes", "images"]
    """Data that the loss reads besides the pixels."""
    reads: tuple[str, ...] = ()
    """Parameters of `pretrain` that only some objectives read, besides the block of its own name."""
    contrastive: bool = False
    """Whether other images are negatives."""
    loss_may_rise: bool = False
    """Whether the loss has more candidates or other terms at the end of a training than at its beginning."""
    attributes: Literal["values", "columns", "values_and_hashtags"] = "values"
    """How attributes are encoded for it, if it learns from them: see `pipeline.training.attribute_inputs`."""


TRAITS: dict[str, Traits] = {
    "cl_infonce": Traits("clusters", ("form", "temperature", "projection_dim"), contrastive=True),
    "dual_head": Traits("clusters", ("temperature", "projection_dim"), contrastive=True),
    "cross_entropy": Traits("clusters"),
    "attribute_prediction": Traits("attributes"),
    "cmc": Traits("attributes", ("temperature", "projection_dim"), contrastive=True),
    "multi_head": Traits(
        "attributes", ("temperature", "projection_dim"), contrastive=True, attributes="columns"
    ),
    "soft": Traits(
        "attributes", ("temperature", "projection_dim"), contrastive=True, attributes="values_and_hashtags"
    ),
    "moco": Traits("clusters", ("temperature", "projection_dim"), contrastive=True, loss_may_rise=True),
    "pcl": Traits("images", ("temperature", "projection_dim"), contrastive=True, loss_may_rise=True),
    "swav": Traits("images", ("temperature", "projection_dim")),
    "byol": Traits("images", ("projection_dim",)),
    "simsiam": Traits("images", ("projection_dim",)),
    "iccl": Traits("images", ("projection_dim",), loss_may_rise=True),
}
"""Traits by the names of objectives in `pretrain.objective`."""


def reads_clusters(objective: str | None, sampler: str | None) -> bool:
    """Returns whether a training reads clusters, in its loss or to compose its batches."""
    traits = TRAITS.get(objective or "")
    return sampler == "cluster" or (traits is not None and traits.learns_from == "clusters")
