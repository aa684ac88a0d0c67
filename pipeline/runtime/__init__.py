"""Common basis of all stages: errors, console, devices, ranks, seeds."""
