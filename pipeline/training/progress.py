"""Where a training stands, and the tables that it leaves."""

from dataclasses import dataclass, field


@dataclass
class Progress:
    """Where a training stands; all of it is saved."""

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    rate_factor: float = 1.0
    retried: bool = False
    """Whether a loss that was not finite has sent training back already."""
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)
    trajectory: list[dict[str, float]] = field(default_factory=list)
