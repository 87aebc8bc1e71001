"""Filling the store: which rows its shelves lack, and the passes that compute them.

A finished batch is on disk before the next begins. In memory stay, of every row, its hash,
its cost and its place; its text and its token ids do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Indicator
from instructmining.models.base import Pass, PlannedPass, StreamedPass
from instructmining.scoring.digests import Lookup, unpack
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.progress import Progress
from instructmining.scoring.rows import Rows
from instructmining.scoring.spool import Spool
from instructmining.scoring.store import Shelf, Store, Stored
from instructmining.scoring.table import Definition
from instructmining.scoring.workers import Crew, Task, worker_count
from instructmining.shard import WHOLE, Shard

#: Rows of one shard where no batches are planned, and characters that are enough for one.
_CHUNK = 4_096
_CHUNK_TEXT = 16_000_000
#: Rows tokenised at one time for a planned pass.
_PREPARED = 1_024


@dataclass
class Sink:
    """Where one readout of a pass is stored, and how it is computed from the output.

    Parameters
    ----------
    definition : dict
        What its values depend on.
    shelf : Shelf
        Where they are kept.
    read : callable
        From examples, none if the pass is planned, and what it gave, to values.
    indicator : Indicator, optional
        What reads it; None for what is stored as the pass gave it.

    Attributes
    ----------
    lacks : ndarray of bool, shape (n,)
        Rows the shelf did not hold.
    """

    definition: Definition
    shelf: Shelf
    read: Callable[[Sequence[Example], Any], np.ndarray]
    indicator: Indicator | None = None
    lacks: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool), init=False)

    def append(
        self, rows: Rows, positions: np.ndarray, values: np.ndarray, flags: Sequence[Sequence[str]]
    ) -> None:
        """Store, of the rows at `positions`, those the shelf lacks, as one shard."""
        fresh = np.flatnonzero(self.lacks[positions])
        if len(fresh):
            digests = unpack(rows.digests[positions[fresh]])
            self.shelf.append(digests, values[fresh], [flags[index] for index in fresh.tolist()])


def sink_of(store: Store, indicator: Indicator, own_pass: Pass | None) -> Sink:
    """Return the sink of an indicator's columns."""
    definition = indicator.definition(own_pass.definition if own_pass else {})
    recorded = own_pass.recorded if own_pass else {}
    shelf = store.shelf(definition, recorded, len(indicator.columns))
    return Sink(definition, shelf, indicator.transform, indicator)


def embedding_sink(store: Store, own_pass: Pass) -> Sink:
    """Return the sink of the embeddings themselves."""
    definition = {"indicator": "embedding", "version": 1, **own_pass.definition}
    shelf = store.shelf(definition, own_pass.recorded, None, np.float32)
    return Sink(definition, shelf, lambda _, output: output.embedding)


class Filler:
    """Fills the shelves of a pool.

    Parameters
    ----------
    rows : Rows
        The rows of the pool.
    codes : FlagCodes
        Numbers the flags of passes.
    progress : Progress
        Told about every stage and batch.
    shard : Shard
        Share of the batches computed here; by default all.

    Attributes
    ----------
    left : int
        Rows of stages that were left to other shards and are not there yet, added up.
    """

    def __init__(
        self, rows: Rows, codes: FlagCodes, progress: Progress, shard: Shard = WHOLE
    ) -> None:
        self.left = 0
        self._rows = rows
        self._codes = codes
        self._progress = progress
        self._shard = shard
        self._lookup = Lookup(rows.digests)

    def stream(
        self,
        stage: str,
        plain: Sequence[Sink],
        counter: StreamedPass[Any] | None,
        counted: Sequence[Sink],
    ) -> list[Stored]:
        """Fill, in one reading of the pool, what needs no plan.

        Parameters
        ----------
        stage : str
            How the stage is called.
        plain : sequence of Sink
            Those of indicators that read the text alone; spread over the cores.
        counter : StreamedPass or None
            The pass that `counted` reads.
        counted : sequence of Sink
            Those of indicators that read it.

        Returns
        -------
        list of Stored
            What the shelves of `plain` and `counted` hold now, in this order.
        """
        return self._filled(
            stage, [*plain, *counted], lambda: self._stream(plain, counter, counted)
        )

    def run(self, stage: str, own_pass: PlannedPass[Any], sinks: Sequence[Sink]) -> list[Stored]:
        """Fill the sinks of a planned pass; return what their shelves hold now.

        Batches are planned over all rows, not over those that are missing: a run that was
        interrupted meets the same batches again, and with them the same bits.
        """
        return self._filled(stage, sinks, lambda: self._run(own_pass, sinks))

    def _filled(
        self, stage: str, sinks: Sequence[Sink], compute: Callable[[], None]
    ) -> list[Stored]:
        stored = self._load(sinks)
        for sink, held in zip(sinks, stored, strict=True):
            sink.lacks = ~held.known
        n_missing = int(self._missing(sinks).sum())
        self._progress.start(stage, len(self._rows), len(self._rows) - n_missing)
        if n_missing:
            # Not held while a model runs: the embeddings of a large pool are gigabytes.
            stored.clear()
            compute()
            stored = self._load(sinks)
            absent = ~np.all([held.known for held in stored], axis=0)
            self.left += int(absent.sum())
        return stored

    def _load(self, sinks: Sequence[Sink]) -> list[Stored]:
        return [sink.shelf.load(self._lookup, self._codes) for sink in sinks]

    def _missing(self, sinks: Sequence[Sink]) -> np.ndarray:
        missing = np.zeros(len(self._rows), dtype=bool)
        for sink in sinks:
            missing |= sink.lacks
        return missing

    def _stream(
        self, plain: Sequence[Sink], counter: StreamedPass[Any] | None, counted: Sequence[Sink]
    ) -> None:
        # By place in the pool, not among what is missing: shards started later agree.
        blocks = np.arange(len(self._rows)) // _CHUNK
        own = blocks % self._shard.n == self._shard.index - 1
        unread, uncounted = self._missing(plain) & own, self._missing(counted) & own
        indicators = [sink.indicator for sink in plain if sink.indicator is not None]
        pending: deque[tuple[np.ndarray, Task, int]] = deque()
        with Crew(worker_count(int(unread.sum()))) as crew:
            for chunk in _chunks(self._rows.examples(unread | uncounted)):
                text = [(at, example) for at, example in chunk if unread[at]]
                task = crew.submit(indicators, [example for _, example in text])
                pending.append((_positions(text), task, len(chunk)))
                # While the workers read words, this process counts tokens.
                if counter is not None:
                    self._count(counter, counted, [pair for pair in chunk if uncounted[pair[0]]])
                while len(pending) > crew.size:
                    self._store(plain, *pending.popleft())
            while pending:
                self._store(plain, *pending.popleft())

    def _count(
        self,
        counter: StreamedPass[Any],
        sinks: Sequence[Sink],
        chunk: Sequence[tuple[int, Example]],
    ) -> None:
        if not chunk:
            return
        examples, positions = [example for _, example in chunk], _positions(chunk)
        output = counter.run(examples)
        for sink in sinks:
            sink.append(self._rows, positions, sink.read(examples, output), [()] * len(chunk))

    def _store(self, sinks: Sequence[Sink], positions: np.ndarray, task: Task, n: int) -> None:
        for sink, values in zip(sinks, task.values(), strict=True):
            sink.append(self._rows, positions, values, [()] * len(positions))
        self._progress.advance(n)

    def _run(self, own_pass: PlannedPass[Any], sinks: Sequence[Sink]) -> None:
        missing = self._missing(sinks)
        with Spool(len(self._rows), sinks[0].shelf.folder, self._codes) as spool:
            given = self._rows.examples()
            while chunk := list(islice(given, _PREPARED)):
                items = own_pass.prepare([example for _, example in chunk])
                for (position, _), item in zip(chunk, items, strict=True):
                    spool.put(position, item, keep=bool(missing[position]))
            for number, batch in enumerate(spool.plan(own_pass.budget)):
                chosen = batch[missing[batch]]
                if not len(chosen) or not self._shard.holds(number):
                    continue
                output = own_pass.run(spool.take(chosen))
                flags = spool.flags(chosen)
                for sink in sinks:
                    sink.append(self._rows, chosen, sink.read((), output), flags)
                self._progress.advance(len(chosen))


def _chunks(given: Iterator[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    chunk: list[tuple[int, Example]] = []
    size = 0
    for position, example in given:
        chunk.append((position, example))
        size += len(example.response) + sum(len(turn.content) for turn in example.turns)
        if len(chunk) == _CHUNK or size >= _CHUNK_TEXT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _positions(chunk: Sequence[tuple[int, Example]]) -> np.ndarray:
    return np.asarray([position for position, _ in chunk], dtype=np.int64)
