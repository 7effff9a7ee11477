"""Measures this project side by side with other libraries; `python -m benchmarks.choosing --help`."""
