"""What a person wants to know of a machine before a run, or when something is odd."""
