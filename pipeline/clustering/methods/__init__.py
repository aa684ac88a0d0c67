"""The clustering methods, one file each."""
