"""Entry points of the DVC stages: each loads the parameters and calls one function."""
