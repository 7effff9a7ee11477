"""Strategies that go by what the classifier does not know."""
