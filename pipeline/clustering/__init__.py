"""Clusters of the train images: one file a method, one interface."""
