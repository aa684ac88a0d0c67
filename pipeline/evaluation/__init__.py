"""What an encoder knows of the labels: linear probes, neighbours, intervals."""
