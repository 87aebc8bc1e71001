"""Judges: who says which of two answers serves better, and how far to trust them."""
