"""Weakly supervised contrastive learning from auxiliary information, as a staged pipeline."""

from pipeline.runtime.safe_import import guard_torch

guard_torch()  # here, since every process of this package begins here
