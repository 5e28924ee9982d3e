"""Placement measured: `python -m benchmarks.placement`. README.md says what the files hold."""
