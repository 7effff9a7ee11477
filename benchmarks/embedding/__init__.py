"""Embedding beside sentence-transformers, the vector cache, imports, and workers that are killed or far apart."""
