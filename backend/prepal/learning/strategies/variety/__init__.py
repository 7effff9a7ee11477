"""Strategies that go by where texts lie in the space of vectors."""
