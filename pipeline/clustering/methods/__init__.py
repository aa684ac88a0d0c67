"""One file for each method of clustering."""
