"""What a caller may watch of a long run."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a caller may watch: one stage per reading or pass."""

    def start(self, stage: str, total: int, reused: int, unit: str = "rows") -> None:
        """Begin a stage of `total` rows, or others, of which `reused` are stored already."""

    def advance(self, rows: int) -> None:
        """Note that `rows` more rows are finished and on disk."""


class Silent:
    """Watches nothing."""

    def start(self, stage: str, total: int, reused: int, unit: str = "rows") -> None:
        """Ignore the stage."""

    def advance(self, rows: int) -> None:
        """Ignore the rows."""
