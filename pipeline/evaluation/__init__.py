"""What an encoder knows of the labels: linear probe, neighbours, intervals."""
