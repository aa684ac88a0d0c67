"""What a person does with a trained encoder: take it away, embed images, search among them."""
