"""Unit tests of the trainer; these import TensorFlow."""
