"""Entry points of the DVC stages: each loads all parameters and calls one function."""
