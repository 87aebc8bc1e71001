"""Linear rules over indicator columns: apply, save, estimate."""
