"""The ways in which pixels reach the training step, by where they are kept."""
