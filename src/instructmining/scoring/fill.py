"""Filling the store: which rows its shelves lack, and the passes that compute them.

A finished batch is on disk before the next begins. In memory stay, of every row, its hash,
its cost and its place; its text and its token ids do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from instructmining.examples import Example
from instructmining.models.base import StreamedPass
from instructmining.scoring.digests import Lookup, unpack
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.labour import Batch, Chunk, Gang, Labour, Local, Pending
from instructmining.scoring.progress import Progress
from instructmining.scoring.rows import Rows
from instructmining.scoring.sinks import Sink
from instructmining.scoring.spool import Spool
from instructmining.scoring.store import Stored
from instructmining.shard import WHOLE, Shard

#: Rows of one shard where no batches are planned, and characters that are enough for one.
_CHUNK = 4_096
_CHUNK_TEXT = 16_000_000
#: Rows tokenised at one time for a planned pass.
_PREPARED = 1_024


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
    labour : Labour
        Who computes them; by default this process.

    Attributes
    ----------
    left : int
        Rows of stages that were left to other shards and are not there yet, added up.
    """

    def __init__(
        self,
        rows: Rows,
        codes: FlagCodes,
        progress: Progress,
        shard: Shard = WHOLE,
        labour: Labour | None = None,
    ) -> None:
        self.left = 0
        self._labour = labour or Local()
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

    def run(self, stage: str, gang: Gang) -> list[Stored]:
        """Fill the sinks of a planned pass; return what their shelves hold now.

        Batches are planned over all rows, not over those that are missing: a run that was
        interrupted meets the same batches again, and with them the same bits.
        """
        return self._filled(stage, gang.sinks, lambda: self._run(gang))

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
            for sink in sinks:
                sink.shelf.compact()
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
        pending: deque[tuple[np.ndarray, Pending, int]] = deque()
        with self._labour.crew(int(unread.sum())) as crew:
            for chunk in _blocks(self._rows.examples(unread | uncounted)):
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
        chunk: Chunk,
    ) -> None:
        if not chunk:
            return
        examples, positions = [example for _, example in chunk], _positions(chunk)
        output = counter.run(examples)
        for sink in sinks:
            self._append(sink, positions, sink.read(examples, output))

    def _store(self, sinks: Sequence[Sink], positions: np.ndarray, task: Pending, n: int) -> None:
        for sink, values in zip(sinks, task.values(), strict=True):
            self._append(sink, positions, values)
        self._progress.advance(n)

    def _append(self, sink: Sink, positions: np.ndarray, values: np.ndarray) -> None:
        digests = unpack(self._rows.digests[positions])
        sink.append(digests, values, [()] * len(positions), sink.lacks[positions])

    def _run(self, gang: Gang) -> None:
        missing = self._missing(gang.sinks)
        with Spool(len(self._rows), gang.sinks[0].shelf.folder.scratch, self._codes) as spool:
            for chunk, items in gang.prepare(_chunks(self._rows.examples())):
                for (position, _), item in zip(chunk, items, strict=True):
                    spool.put(position, item, keep=bool(missing[position]))
            batches = self._batches(spool, spool.plan(gang.budget), missing, gang.sinks)
            for n_rows in gang.run(batches):
                self._progress.advance(n_rows)

    def _batches(
        self,
        spool: Spool,
        planned: Sequence[np.ndarray],
        missing: np.ndarray,
        sinks: Sequence[Sink],
    ) -> Iterator[Batch]:
        """Yield, of the batches planned, what is missing of those of this shard."""
        for number, batch in enumerate(planned):
            chosen = batch[missing[batch]]
            if len(chosen) and self._shard.holds(number):
                yield Batch(
                    unpack(self._rows.digests[chosen]),
                    spool.take(chosen),
                    spool.flags(chosen),
                    tuple(sink.lacks[chosen] for sink in sinks),
                )


def _chunks(given: Iterator[tuple[int, Example]]) -> Iterator[Chunk]:
    while chunk := list(islice(given, _PREPARED)):
        yield chunk


def _blocks(given: Iterator[tuple[int, Example]]) -> Iterator[Chunk]:
    chunk: Chunk = []
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
