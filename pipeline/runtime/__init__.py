"""What every stage stands on: errors, console, devices, ranks, seeds."""
