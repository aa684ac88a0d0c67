"""The embedded data set of rendered posts."""
