"""Where the images of `embed` and `search` come from."""
