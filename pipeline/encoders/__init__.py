"""Networks that turn images into features, by the names that `pretrain.encoder` takes."""
