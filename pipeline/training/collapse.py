"""Criteria by which a representation has collapsed. Does not import torch, as the report uses them too."""

from collections.abc import Mapping
from dataclasses import dataclass

METRICS = ("uniformity", "rankme")
COLLAPSED_RANKME = 2.0
COLLAPSED_UNIFORMITY = -0.05


@dataclass(frozen=True)
class Collapse:
    what: str
    """The beginning of a sentence, in lower case, with the value of the metric."""
    cure: str
    """The end of the sentence: what the user can do."""


def collapse(signs: Mapping[str, float]) -> Collapse | None:
    """Returns the collapse that a row of `history.csv` shows; None without one, or without the `METRICS`."""
    if not signs.keys() >= set(METRICS):
        return None
    uniformity, rankme = (signs[name] for name in METRICS)
    if uniformity > COLLAPSED_UNIFORMITY:
        return Collapse(
            f"all images have nearly the same embedding (uniformity {uniformity:.3f}; 0 is collapse)",
            "train longer, lower pretrain.learning_rate, or choose clusters of which none holds most images",
        )
    if rankme < COLLAPSED_RANKME:
        return Collapse(
            f"the features lie on a line (RankMe {rankme:.2f})",
            "lower pretrain.learning_rate or pretrain.temperature",
        )
    return None
