"""Processor time of something quick, on machines that stall."""

from __future__ import annotations

import time
from collections.abc import Callable


def processor_seconds(measured: Callable[[], object], rounds: int = 3) -> float:
    """Return the least processor time of a few rounds: a stall rarely hits them all."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        measured()
        seconds.append(time.process_time() - start)
    return min(seconds)
