"""Tests with real services and real processes."""
