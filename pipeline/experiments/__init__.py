"""Many experiments on one page."""
