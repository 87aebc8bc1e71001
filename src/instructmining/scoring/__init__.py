"""Passes times examples to columns, through a resumable store."""
