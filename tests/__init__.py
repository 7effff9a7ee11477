"""Tests of each room, by unit, integration and end to end, and what helps them."""
