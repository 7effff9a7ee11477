"""Strategies that choose by where texts lie among the vectors, most of them by doubt too."""
