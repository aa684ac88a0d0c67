"""The output of ingest, as the later stages read it."""
