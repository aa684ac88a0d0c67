"""I(Z;T), H(Z|T) and their kin, from one contingency table of clusters Z and labels T."""

from pipeline.statistics.describe import describe_clustering

__all__ = ["describe_clustering"]
