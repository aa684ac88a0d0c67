"""Loaders of pixels for the training step, by where the pixels are kept."""
