"""I(Z;T), H(Z|T) and their kin, from one contingency table of clusters Z and labels T.

`describe.describe_clustering` gives everything that `statistics.json` holds. Where only the plug-in values
are needed, as in a loop over many clusterings, `Information(Contingency.of_codes(...))` gives each on demand.
"""
