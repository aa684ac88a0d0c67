"""Executors of work that is split into files: processes on this machine, or a Ray cluster."""
