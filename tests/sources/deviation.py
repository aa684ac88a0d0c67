"""How far a share may stray by chance."""

import math


def allowed_deviation(probability: float, draws: float) -> float:
    """Five standard deviations of a share: some 300 shares are compared, and none should stray that far."""
    return 5 * math.sqrt(probability * (1 - probability) / draws) + 1e-12
