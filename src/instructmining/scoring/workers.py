"""Worker processes for indicators that read the text alone.

They are started afresh, not forked, as threads of a tokenizer do not survive a fork; and
not by `multiprocessing`, which would import the caller's script a second time. A worker
loads numpy and the indicator's own module, no model library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.examples import Example, Turn

if TYPE_CHECKING:
    from instructmining.indicators.base import Indicator

#: Fewer rows are finished before a worker is ready.
WORTHWHILE = 16_384
#: One process reads the pool for all workers and keeps no more of them busy.
_MOST = 4
_START = (
    "import sys; sys.path = sys.argv[2:]; "
    "from instructmining.scoring.workers import serve; serve(int(sys.argv[1]))"
)

Values = list[np.ndarray]


def worker_count(n_rows: int) -> int:
    """Return how many workers `n_rows` rows are worth on the cores given to this process."""
    if os.name != "posix" or n_rows < WORTHWHILE:
        return 0
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(cores - 1, _MOST)


class Crew:
    """Workers that take turns; without any, the work is done here.

    Parameters
    ----------
    size : int
        Number of workers, each of which has one task at a time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers = deque(_Worker() for _ in range(size))

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.close()

    def submit(self, indicators: Sequence[Indicator], examples: Sequence[Example]) -> Task:
        """Begin to compute `indicators`, which need no pass, of `examples`."""
        task = Task(indicators, examples)
        if self._workers and indicators and examples:
            worker = self._workers.popleft()
            worker.begin(task)
            self._workers.append(worker)
        return task


class Task:
    """Values being computed."""

    def __init__(self, indicators: Sequence[Indicator], examples: Sequence[Example]) -> None:
        self.indicators = indicators
        self.examples = examples
        self._worker: _Worker | None = None
        self._values: Values | None = None

    def values(self) -> Values:
        """Wait for, and return, the values of each indicator, shape (n, n_columns)."""
        if self._worker is not None:
            self._values = self._worker.receive()
            self._worker = None
        if self._values is None:
            # A worker that died, for want of memory say, costs time and nothing else.
            self._values = _transform(self.indicators, self.examples)
        return self._values

    def given_to(self, worker: _Worker) -> None:
        """Note who computes it."""
        self._worker = worker


def _transform(indicators: Sequence[Indicator], examples: Sequence[Example]) -> Values:
    return [indicator.transform(examples, None) for indicator in indicators]


class _Worker:
    def __init__(self) -> None:
        self._task: Task | None = None
        self._connection, theirs = Pipe()
        with theirs:
            # In a session of its own it is not met by the Ctrl-C that stops this process;
            # it ends when its connection closes, however this process ends.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def begin(self, task: Task) -> None:
        if self._task is not None:
            self._task.values()
        # As plain tuples: frozen dataclasses take longer to restore than to be made anew.
        wanted = any(indicator.reads_turns for indicator in task.indicators)
        plain = [
            (_pairs(e.turns) if wanted else (), e.response, e.source, e.flags)
            for e in task.examples
        ]
        try:
            self._connection.send((list(task.indicators), plain))
        except OSError:
            return
        task.given_to(self)
        self._task = task

    def receive(self) -> Values | None:
        self._task = None
        try:
            given: Values = self._connection.recv()
        except (EOFError, OSError):
            return None
        return given

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


def _pairs(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


def serve(descriptor: int) -> None:
    """Answer the process at the other end of a connection until it closes it."""
    with Connection(descriptor) as connection:
        while True:
            try:
                indicators, plain = connection.recv()
            except EOFError:
                return
            connection.send(_transform(indicators, _examples(plain)))


def _examples(plain: Sequence[tuple[Any, ...]]) -> list[Example]:
    return [
        Example(row, tuple(Turn(*turn) for turn in turns), *rest)
        for row, (turns, *rest) in enumerate(plain)
    ]
