"""One file per command: it parses, calls the API and prints."""
