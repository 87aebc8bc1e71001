"""Timings against what users would otherwise run; ``python -m benchmarks`` prints the table."""
