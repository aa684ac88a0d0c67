"""Comparisons and studies of several experiments."""
