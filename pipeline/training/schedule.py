"""The size and the learning rate of each step."""

import math


def images_per_step(images: int, batch_size: int, sampler: str) -> int:
    """Returns the batch size, or the number of images if that is smaller (rounded down to even for pairs)."""
    if images >= batch_size:
        return batch_size
    return images - images % 2 if sampler == "cluster" else images


def learning_rate_at(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """Returns the learning rate of a step.

    It rises linearly over the first `warmup_fraction` of `steps`, then falls as half a cosine to peak / 1000.
    """
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    floor = peak / 1000
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))
