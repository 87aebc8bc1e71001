"""One file per family of indicators; the folder is scanned, no list is edited."""
