"""The progress of a training, and the tables that it records."""

from dataclasses import dataclass, field

from torch import Tensor

from pipeline.training.checkpoint import State, StateFolder


@dataclass
class Progress:
    """Progress of a training; all of it is part of a saved state."""

    epoch: int = 0
    step: int = 0
    """Number of steps done in this epoch."""
    order_N: Tensor | None = None
    """The order in which this epoch shows the N train images, int64 on the CPU; None between epochs.

    It depends on the loader, so it is saved: a training that resumes with another loader still shows each
    image once.
    """
    rate_factor: float = 1.0
    retried: bool = False
    """Whether a fault, such as a loss that was not finite, has already sent training back to a saved
    state."""
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)
    trajectory: list[dict[str, float]] = field(default_factory=list)


def saved_state(states: StateFolder) -> tuple[State | None, list[str]]:
    """Returns the last state, or None if there is none or its re-clusterings are damaged, and messages."""
    state, messages = states.load()
    if state is None:
        return None, messages
    kept = {epoch: states.kept(f"clusters-{epoch}") for epoch in state.pop("reclustered")}
    if any(clusters_N is None for clusters_N in kept.values()):
        return None, [*messages, "the clusters of an earlier epoch are damaged: training starts again"]
    return state | {"reclusterings": kept}, messages
