"""Measures this project, beside other libraries where there are some; RESULTS.md has what came out."""
