"""Where a training stands, and the tables that it leaves."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Progress:
    """Where a training stands; all of it is saved."""

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    order_N: Tensor | None = None
    """The order in which this epoch shows the N train images, int64 on the CPU; None between epochs. Feeds
    differ in it, so it is saved: a training that resumes with another feed still shows each image once."""
    rate_factor: float = 1.0
    retried: bool = False
    """Whether a loss that was not finite has sent training back already."""
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)
    trajectory: list[dict[str, float]] = field(default_factory=list)
