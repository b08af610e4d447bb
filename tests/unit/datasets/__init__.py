"""Unit tests of the bundled data sets."""
