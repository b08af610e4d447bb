"""Tests of `worker`, without its trainers."""
