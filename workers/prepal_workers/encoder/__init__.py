"""Texts → vectors, by a pretrained encoder."""
