"""The reader of files."""
