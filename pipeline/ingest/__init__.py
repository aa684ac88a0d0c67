"""From source rows to checked, resized, sharded Parquet."""
