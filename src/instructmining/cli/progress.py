"""A progress bar on standard error for scoring and experiments."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """Draws one bar per stage; off a terminal it prints a line at start and end instead."""

    def __init__(self, unit: str = "rows") -> None:
        # Bound late, so that a redirected stderr is honoured.
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.unit = unit
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._unit = unit
        self._stage = ""
        self._total = self._reused = self._done = 0
        self._began = self._said = 0.0

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, stage: str, total: int, reused: int, unit: str | None = None) -> None:
        """Begin a stage of `total` steps of which `reused` are done already."""
        self._unit = unit or self.unit
        self._stage, self._total, self._reused, self._done = stage, total, reused, 0
        self._began = self._said = time.perf_counter()
        self.console.print(f"{stage}: reused {reused} of {total} {self._unit}", markup=False)
        if reused < total:
            self._task = self._bars.add_task(stage, total=total, completed=reused, rate="")

    def advance(self, rows: int) -> None:
        """Note `rows` more steps done."""
        self._done += rows
        now = time.perf_counter()
        rate = self._done / max(now - self._began, 1e-9)
        if self._task is not None:
            text = f"{rate:.1f} {self._unit}/s"
            self._bars.update(self._task, advance=rows, rate=text)
        done = self._reused + self._done
        # A log file wants a sign of life, not a line per batch.
        if not self.console.is_terminal and (done >= self._total or now - self._said > 30):
            self._said = now
            left = (self._total - done) / rate
            self.console.print(
                f"{self._stage}: {done} of {self._total} {self._unit}, "
                f"{rate:.2f} {self._unit}/s, {left:.0f} s left",
                markup=False,
            )
