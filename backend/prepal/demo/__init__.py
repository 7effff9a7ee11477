"""`prepal demo`: sample tickets, a played annotator and the curve of what its labels are worth."""
