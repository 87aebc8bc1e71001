"""Whether a pool is named by a pattern, so that it is one in files.

Apart from what reads one: a command that is given a pool asks this first, and until the pool is
open nothing is imported that starts threads, since an interrupt may then reach one of them
instead of the read that waits for the pool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_WILD = ("*", "?", "[")


def is_pattern(source: Any) -> bool:
    """Whether a pool is named by a pattern such as ``pool/*.jsonl``."""
    return isinstance(source, str | Path) and any(mark in _last(str(source)) for mark in _WILD)


def _last(source: str) -> str:
    # What follows the mark in an address is no pattern.
    head = source.partition("?")[0] if "://" in source else source
    return head.rpartition("/")[2]
