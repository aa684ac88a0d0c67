"""Clusters of the train images: one interface, one file per method."""
