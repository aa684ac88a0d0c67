"""Benchmarks of speed against the named peers.

uv run --group bench python -m benchmarks.<name> [--json]
"""
