"""Uses of a trained encoder: exporting it, embedding images, and searching among them."""
