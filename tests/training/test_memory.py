"""Freed memory stays with the process while training, and no longer."""

import ctypes
import resource

import pytest
import torch

from pipeline.training import memory
from pipeline.training.memory import kept_memory


def fewest_faults(megabytes: int) -> int:
    """Page faults of making and freeing a tensor; the fewest, since luck decides where it lies."""
    counts = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(megabytes * 2**20, dtype=torch.uint8)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_large_tensors_take_no_new_pages_within() -> None:
    with kept_memory():
        assert fewest_faults(64) < 100
    # Larger than the hole that the first one left.
    assert fewest_faults(160) > 1000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: object())
    with kept_memory():
        pass
