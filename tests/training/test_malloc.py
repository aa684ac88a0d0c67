"""Freed memory stays with the process while training, and no longer."""

import ctypes
import subprocess
import sys

import pytest

from pipeline.training.malloc import limited_arenas
from support import REPOSITORY

pytestmark = pytest.mark.slow

COUNT = """
import resource
import torch
from pipeline.training.malloc import limited_arenas

def fewest_faults(megabytes):
    counts = []
    for _ in range(30):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(megabytes * 2**20, dtype=torch.uint8)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts)

with limited_arenas():
    print(fewest_faults(64))
# Larger than the hole that the first one left.
print(fewest_faults(160))
"""
"""Page faults of making and freeing a tensor: the fewest, since the heap takes some rounds to settle."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_large_tensors_take_no_new_pages_within() -> None:
    """In a process of its own: where others have left little room behind the heap, it can't grow."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    within, after = map(int, done.stdout.split())
    assert within < 100
    assert after > 1000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    with limited_arenas():
        pass
