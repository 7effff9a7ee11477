"""Exports and data files → texts with labels."""
