"""Untrusted tables of any format: their rows, and the meaning of a cell, the same for every reader."""
