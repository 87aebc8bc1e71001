"""The model border: names to files, and one file per pass."""
