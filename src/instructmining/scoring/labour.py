"""Who runs the batches of a pass: this process, or whatever stands in for it.

A pass over a pool is `Work`: which model, and what is stored of its output. Whoever does it
begins with a `Hand`, which holds the loaded pass, and gives it `Batch` after `Batch`; a hand
writes what a batch gave to the store itself, so that values of large pools are not carried
about. `Local` does it here. `ray.RayLabour` keeps hands in actors of a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Indicator, Need
from instructmining.models.base import Item, Pass, PlannedPass
from instructmining.scoring.passes import Models
from instructmining.scoring.sinks import Sink, embedding_sink, sink_of
from instructmining.scoring.store import Store
from instructmining.scoring.workers import Crew, worker_count

#: Rows of a pool, each with its position among the distinct scorable rows.
Chunk = list[tuple[int, Example]]


@dataclass(frozen=True)
class Work:
    """One pass over a pool, and what is stored of it: enough to do a share of it anywhere.

    Parameters
    ----------
    models : Models
        Which models passes run.
    needs : tuple of Need
        What the pass has to give, all of one kind.
    store : Store
        Where values are kept.
    indicators : tuple of Indicator
        What reads the pass; none if its embeddings themselves are stored.
    """

    models: Models
    needs: tuple[Need, ...]
    store: Store
    indicators: tuple[Indicator, ...] = ()

    def build(self) -> Any:
        """Return the pass."""
        return self.models.build(self.needs)

    def sinks(self, own_pass: Pass) -> list[Sink]:
        """Return where its readouts are stored."""
        if not self.indicators:
            return [embedding_sink(self.store, own_pass)]
        return [sink_of(self.store, indicator, own_pass) for indicator in self.indicators]


@dataclass(frozen=True)
class Batch:
    """Rows that a pass runs at once.

    Parameters
    ----------
    digests : list of str
        Content hashes of the `n` rows.
    items : list of Item
        The rows as the pass prepared them.
    flags : list of tuple of str
        Their flags.
    lacking : tuple of ndarray of bool, shape (n,)
        For each sink, which rows its shelf lacks.
    """

    digests: list[str]
    items: list[Item]
    flags: list[tuple[str, ...]]
    lacking: tuple[np.ndarray, ...]


class Hand:
    """A pass ready to run, and where what it gives is stored.

    Parameters
    ----------
    work : Work
        What to do.
    """

    def __init__(self, work: Work) -> None:
        self.own_pass: PlannedPass[Any] = work.build()
        self.sinks = work.sinks(self.own_pass)

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example, in order."""
        return self.own_pass.prepare(examples)

    def run(self, batch: Batch) -> int:
        """Run a batch and store it, one shard per sink; return its number of rows."""
        output = self.own_pass.run(batch.items)
        for sink, lacking in zip(self.sinks, batch.lacking, strict=True):
            sink.append(batch.digests, sink.read((), output), batch.flags, lacking)
        return len(batch.items)


class Gang(Protocol):
    """All hands that share one work."""

    @property
    def budget(self) -> int:
        """The budget batches are planned by."""

    @property
    def recorded(self) -> dict[str, Any]:
        """What the pass records, alike for all hands."""

    @property
    def sinks(self) -> list[Sink]:
        """Where values are stored."""

    def prepare(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Item]]]:
        """Yield every chunk, in order, with the items of its rows."""

    def run(self, batches: Iterable[Batch]) -> Iterator[int]:
        """Run and store batches, in any order; yield the rows of each as it is stored."""


class Pending(Protocol):
    """Values being computed."""

    def values(self) -> list[np.ndarray]:
        """Wait for, and return, the values of each indicator, shape (n, n_columns)."""


class TextCrew(Protocol):
    """Who computes indicators that read the text alone."""

    @property
    def size(self) -> int:
        """Tasks to have under way before the first is waited for."""

    def submit(self, indicators: Sequence[Indicator], examples: Sequence[Example]) -> Pending:
        """Begin to compute `indicators` of `examples`."""


class Labour(Protocol):
    """Gives hands to works."""

    def gang(self, work: Work) -> AbstractContextManager[Gang]:
        """Yield the hands for one pass over a pool."""

    def crew(self, n_rows: int) -> AbstractContextManager[TextCrew]:
        """Yield who computes text indicators of `n_rows` rows."""


@dataclass(frozen=True)
class Local:
    """Every batch is run by this process, on whatever device it has."""

    def gang(self, work: Work) -> AbstractContextManager[Gang]:
        """Yield the one hand there is."""
        return nullcontext(_Alone(Hand(work)))

    def crew(self, n_rows: int) -> AbstractContextManager[TextCrew]:
        """Yield worker processes, where they are worth their start."""
        return Crew(worker_count(n_rows))


@dataclass(frozen=True)
class _Alone:
    hand: Hand

    @property
    def budget(self) -> int:
        return self.hand.own_pass.budget

    @property
    def recorded(self) -> dict[str, Any]:
        return dict(self.hand.own_pass.recorded)

    @property
    def sinks(self) -> list[Sink]:
        return self.hand.sinks

    def prepare(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Item]]]:
        for chunk in chunks:
            yield chunk, self.hand.prepare([example for _, example in chunk])

    def run(self, batches: Iterable[Batch]) -> Iterator[int]:
        return map(self.hand.run, batches)
