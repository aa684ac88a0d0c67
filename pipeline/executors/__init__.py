"""Who does work that is cut into files: this process, processes beside it, or a Ray cluster."""
