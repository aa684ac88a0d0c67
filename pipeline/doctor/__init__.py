"""Diagnosis of a machine and a project before a run, or when something is wrong."""
