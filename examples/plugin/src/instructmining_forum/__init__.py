"""Threads of forums for instructmining."""
