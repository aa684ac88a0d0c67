"""I(Z;T), H(Z|T) and related statistics, from one contingency table of clusters Z and labels T.

`describe.describe_clustering` computes everything that `statistics.json` holds. If only the plug-in values
are needed, as in a loop over many clusterings, `Information(Contingency.of_codes(...))` computes each on
demand.
"""
