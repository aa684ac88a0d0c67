"""How sure a measured share is."""

import math

NORMAL_QUANTILE_975 = 1.959963984540054


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): stays within 0-1 and holds for few trials, too.

    It covers the draw of the test images, not what another seed of training would change.
    """
    z = NORMAL_QUANTILE_975
    share = successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, center - half), min(1.0, center + half)
