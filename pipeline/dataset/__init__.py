"""What ingest wrote, as the later stages read it."""
