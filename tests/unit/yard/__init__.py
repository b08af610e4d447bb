"""Tests of the supervisor's parts."""
