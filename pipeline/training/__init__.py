"""The training loop, and the checkpoints that keep its state."""
