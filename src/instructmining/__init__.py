"""Find out which instruction data is worth training on, and prove it."""
