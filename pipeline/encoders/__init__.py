"""Networks from images to features, by their names in `pretrain.encoder`."""
