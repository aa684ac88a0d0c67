"""I(Z;T), H(Z|T) and their kin, from one contingency table of clusters Z and labels T.

`describe_clustering` gives everything that `statistics.json` holds. Where only the plug-in figures are
wanted, as in a loop over many clusterings, `Information(Contingency.of_codes(...))` gives each on demand.
"""

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.describe import describe_clustering
from pipeline.statistics.information import Information
from pipeline.statistics.values import encoded

__all__ = ["Contingency", "Information", "describe_clustering", "encoded"]
