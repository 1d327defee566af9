"""Measurements: `python -m tests.bench`. Every figure is a ratio against something measured in the same run."""
