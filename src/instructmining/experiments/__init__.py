"""Mixtures, fine-tuning runs and their log."""
