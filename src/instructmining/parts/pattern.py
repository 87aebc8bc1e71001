"""Whether a pool is named by a pattern, so that it is one in files.

Apart from what reads one: a command that is given a pool asks this first, and until the pool is
open nothing is imported that starts threads, since an interrupt may then reach one of them
instead of the read that waits for the pool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructmining.folders import split_address

_WILD = ("*", "?", "[")


def is_pattern(source: Any) -> bool:
    """Whether a pool is named by a pattern such as ``pool/*.jsonl``."""
    if not isinstance(source, str | Path):
        return False
    _, name = split_address(str(source))
    return any(mark in name for mark in _WILD)
