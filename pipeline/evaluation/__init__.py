"""Evaluation of encoders on labels: linear probes, nearest neighbours, intervals."""
