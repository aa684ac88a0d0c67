"""What pretraining minimises: one file an objective, one interface."""
