"""The models of params.yaml."""
