"""The objectives that pretraining minimises: one file per objective, one interface."""
