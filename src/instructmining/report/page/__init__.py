"""A page to open in a browser: one file that needs no network, made of plain data."""
