"""Hands in the actors of a Ray cluster: one per GPU, or per share of the cores.

Ray core, not Ray Data: batches are planned over the whole pool, so that a cluster gives the
same shards as one machine, and Ray Data cuts its batches itself and retries a batch that
kills its worker for ever. The driver reads the pool and plans; actors tokenise, run and
write to the store, which all of them must reach under the same path.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from instructmining.cluster import Actors, Resources, connect, result_of
from instructmining.errors import ModelError
from instructmining.examples import Example
from instructmining.indicators.base import Indicator
from instructmining.models.base import Item
from instructmining.scoring.labour import Batch, Chunk, Gang, Hand, Pending, TextCrew, Work
from instructmining.scoring.sinks import Sink
from instructmining.scoring.workers import transform


@dataclass(frozen=True)
class Facts:
    """What all hands of a gang must agree on, and the budget their batches are planned by."""

    definition: dict[str, Any]
    recorded: dict[str, Any]
    budget: int


def facts(work: Work) -> Facts:
    """Return those of the hands this process would have; no model is loaded."""
    own_pass = work.build()
    return Facts(dict(own_pass.definition), dict(own_pass.recorded), own_pass.budget)


class _RemoteHand:
    """A hand in an actor of its own."""

    def __init__(self, work: Work, expected: Facts) -> None:
        self._work, self._expected = work, expected

    # Not made by the constructor: what that raises reaches nobody as it was.
    @cached_property
    def _hand(self) -> Hand:
        found, wanted = facts(self._work), self._expected
        if (found.definition, found.recorded) != (wanted.definition, wanted.recorded):
            raise ModelError(
                f"a worker on {platform.node()} would compute {found.definition} with "
                f"{found.recorded}, others {wanted.definition} with {wanted.recorded}: scores "
                "would not agree; give nodes of one kind, and the same models"
            )
        return Hand(self._work)

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        return self._hand.prepare(examples)

    def run(self, batch: Batch) -> int:
        return self._hand.run(batch)


@dataclass(frozen=True)
class RayLabour:
    """Hands in the actors of a Ray cluster.

    Parameters
    ----------
    workers : int, optional
        How many; by default one per GPU, or per core where there is none.
    """

    workers: int | None = None

    @contextmanager
    def gang(self, work: Work) -> Iterator[Gang]:
        """Yield hands, which start when they are needed, and stop them at the end."""
        # A model that this process has loaded does not travel, its name does.
        away = replace(work, models=replace(work.models))
        resources = Resources.share(self.workers)
        # A driver without a GPU does not know what one would compute.
        known = resources.run(facts, away) if resources.gpus else facts(work)
        actors = Actors(_RemoteHand, (away, known), resources)
        try:
            yield _RayGang(known, work.sinks(known), actors)
        finally:
            actors.close()

    @contextmanager
    def crew(self, n_rows: int) -> Iterator[TextCrew]:
        """Yield tasks of one core each."""
        yield _RayCrew(2 * Resources.share().workers if n_rows else 0)


@dataclass(frozen=True)
class _RayGang:
    facts: Facts
    sinks: list[Sink]
    actors: Actors

    @property
    def budget(self) -> int:
        return self.facts.budget

    @property
    def recorded(self) -> dict[str, Any]:
        return self.facts.recorded

    def prepare(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Item]]]:
        waiting: deque[Chunk] = deque()

        def examples() -> Iterator[list[Example]]:
            for chunk in chunks:
                waiting.append(chunk)
                yield [example for _, example in chunk]

        for items in self.actors.map("prepare", examples(), _rows_named, ordered=True):
            yield waiting.popleft(), items

    def run(self, batches: Iterable[Batch]) -> Iterator[int]:
        return self.actors.map("run", batches, _batch_named, ordered=False)


def _rows_named(examples: Sequence[Example]) -> str:
    return f"tokenising rows {examples[0].row} to {examples[-1].row}"


def _batch_named(batch: Batch) -> str:
    rows = sorted(item.row for item in batch.items)
    return f"a batch of {len(rows)} rows, such as row {rows[0]}"


@dataclass(frozen=True)
class _RayCrew:
    size: int

    def submit(self, indicators: Sequence[Indicator], examples: Sequence[Example]) -> Pending:
        """Begin a task of one core."""
        ray = connect()
        return _RayTask(ray.remote(transform).remote(list(indicators), list(examples)))


@dataclass(frozen=True)
class _RayTask:
    reference: Any

    def values(self) -> list[np.ndarray]:
        """Wait for the values of each indicator, shape (n, n_columns); Ray retries a task."""
        # Copied: what Ray gives cannot be written to.
        return [np.array(one) for one in result_of(self.reference)]
