"""Weakly supervised contrastive learning from auxiliary information, as a staged pipeline."""
