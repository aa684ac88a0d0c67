"""The training loop and all that keeps its state safe."""
