"""Measurements against the figures that we hold: `python -m tests.bench`."""
