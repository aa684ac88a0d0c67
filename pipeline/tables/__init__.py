"""Untrusted tables of any format: their rows, and the meaning of cells, which is the same for all readers."""
