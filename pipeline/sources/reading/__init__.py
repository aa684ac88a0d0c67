"""Common code of the sources."""
