"""All randomness comes from the parameter `seed`, through generators that are passed."""

import hashlib

import numpy as np


def derived_seed(seed: int, *names: str | int) -> int:
    """Returns a 63-bit seed for one named use: equal names give equal seeds, any other name an unrelated one.

    Because a seed depends on the name (an epoch, a step) and not on earlier draws, a training that resumes in
    the middle needs no saved generator state.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derived_seed(seed, *names))
