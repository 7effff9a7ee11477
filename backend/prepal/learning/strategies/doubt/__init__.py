"""Strategies that choose the texts of which the classifier knows least."""
