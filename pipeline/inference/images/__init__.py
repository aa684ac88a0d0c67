"""The sources of images for `embed` and `search`."""
