"""The web without its services."""
