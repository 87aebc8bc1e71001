"""Worker processes for indicators that read the text alone.

They are started afresh, not forked, as threads of a tokenizer do not survive a fork; and
not by `multiprocessing`, which would import the caller's script a second time. A worker
loads numpy and the indicator's own module, no model library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
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

_FIELDS = [field.name for field in fields(Example)]

Values = list[np.ndarray]


def worker_count(n_rows: int) -> int:
    """Return how many workers `n_rows` rows are worth on the cores given to this process."""
    if os.name != "posix" or n_rows < WORTHWHILE:
        return 0
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(cores - 1, _MOST)


class Crew:
    """Workers, and this process beside them.

    Parameters
    ----------
    n_workers : int
        Number of workers, each of which has one task at a time.

    Attributes
    ----------
    size : int
        Number of tasks to have under way before the first is waited for. With two for each
        worker this process goes on while one of them is slow.
    """

    def __init__(self, n_workers: int) -> None:
        self.size = 2 * n_workers
        self._workers = [_Worker() for _ in range(n_workers)]

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

    def wait(self) -> None:
        """Wait until every worker has started; only measurements and tests need to."""
        for worker in self._workers:
            worker.wait()

    def submit(self, indicators: Sequence[Indicator], examples: Sequence[Example]) -> Task:
        """Compute `indicators`, which need no pass, of `examples`.

        A worker that is free begins to; if none is, the values are there on return.
        """
        task = Task(indicators, examples)
        if indicators and examples:
            worker = next((worker for worker in self._workers if worker.free()), None)
            if worker is not None:
                worker.begin(task)
            else:
                task.values()
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
            self._values = transform(self.indicators, self.examples)
        return self._values

    def given_to(self, worker: _Worker) -> None:
        """Note who computes it."""
        self._worker = worker


def transform(indicators: Sequence[Indicator], examples: Sequence[Example]) -> Values:
    """Return the values of each indicator, which needs no pass."""
    return [indicator.values(examples, None) for indicator in indicators]


class _Worker:
    def __init__(self) -> None:
        self._started = False
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

    def free(self) -> bool:
        """Whether it waits for a task, having started and answered the last one."""
        if (self._task is not None or not self._started) and self._connection.poll():
            if self._task is not None:
                self._task.values()
            else:
                self._started = self.receive() is not None
        return self._started and self._task is None

    def wait(self) -> None:
        """Wait until it has started, or ended."""
        if not self._started:
            self._connection.poll(None)
            self.free()

    def begin(self, task: Task) -> None:
        """Give a task to a worker that is free."""
        wanted = any(indicator.reads_turns for indicator in task.indicators)
        examples = task.examples
        plain = (
            [_pairs(example.turns) if wanted else () for example in examples],
            [example.response for example in examples],
            [example.source for example in examples],
            [example.flags for example in examples],
            [example.digest for example in examples],
        )
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
        # Says that it has started.
        connection.send([])
        while True:
            try:
                indicators, plain = connection.recv()
            except EOFError:
                return
            connection.send(transform(indicators, _examples(*plain)))


def _examples(turns: Sequence[Sequence[Any]], *others: Iterable[Any]) -> list[Example]:
    given = [tuple([Turn(*pair) for pair in pairs]) for pairs in turns]
    # Not by the constructor, most of whose time is the digest's, and a column at a time.
    restored = [object.__new__(Example) for _ in given]
    for name, column in zip(_FIELDS, (range(len(given)), given, *others), strict=True):
        for _ in map(getattr(Example, name).__set__, restored, column):
            pass
    return restored
