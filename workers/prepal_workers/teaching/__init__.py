"""What a quick classifier that knows the labels believes of texts without one, for a model to learn from."""
