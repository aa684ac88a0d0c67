"""Which clusterings are worth training on, from labels and auxiliary information alone."""
