"""Faults: what may break a training job, broken on purpose; see README.md."""
