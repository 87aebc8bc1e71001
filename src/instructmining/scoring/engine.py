"""The scoring engine: a source of examples in, a table of columns out, each pass run once.

A pool is read once to learn which rows it has. Then each stage asks the store which of
them its columns lack, and reads the pool again for those: lengths and lexical diversity in
one reading, and each pass that runs a model in one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Indicator, Need, PoolIndicator, Reference
from instructmining.plugins import blaming
from instructmining.scoring.assemble import Filled, assemble
from instructmining.scoring.digests import Lookup, unpack
from instructmining.scoring.fill import Filler
from instructmining.scoring.flags import NONE, FlagCodes
from instructmining.scoring.labour import Gang, Labour, Local, Work
from instructmining.scoring.passes import Models, by_pass
from instructmining.scoring.progress import Progress, Silent
from instructmining.scoring.reference import ReferenceSpec
from instructmining.scoring.rows import Part, PoolIndex, Rows, Source, as_source
from instructmining.scoring.sinks import Sink, sink_of
from instructmining.scoring.store import Store, Stored
from instructmining.scoring.table import Definition, ScoreTable
from instructmining.shard import WHOLE, Shard

__all__ = ["ENCODER", "Embeddings", "Engine", "Progress", "Silent"]

#: What embeddings need, and neighbours: one pass and one shelf serve both.
ENCODER = Need("encoder")


@dataclass(frozen=True)
class Embeddings:
    """Sentence embeddings of a pool.

    Parameters
    ----------
    values : ndarray of float32, shape (m, d)
        Unit rows, one per distinct scorable row.
    place : ndarray of int64, shape (n,)
        Which of them each row of the pool has; -1 for a row without a response.
    partial : ndarray of bool, shape (m,)
        Whether the encoder read the text only in part.
    definition : dict
        What they depend on: model, weights, text, truncation.
    """

    values: np.ndarray
    place: np.ndarray
    partial: np.ndarray
    definition: Definition


@dataclass
class Engine:
    """Scores pools with one set of models and one store.

    Parameters
    ----------
    store : Store
        Where values are kept and found again.
    models : Models
        Which models the passes run.
    progress : Progress
        Told about every stage and batch.
    shard : Shard
        Share of every stage's batches that `fill` computes.
    labour : Labour
        Who computes batches: by default this process.
    """

    store: Store
    models: Models = field(default_factory=Models)
    progress: Progress = field(default_factory=Silent)
    shard: Shard = WHOLE
    labour: Labour = field(default_factory=Local)

    def fill(
        self,
        source: Source | Sequence[Example],
        indicators: Sequence[Indicator],
        *,
        reference: ReferenceSpec | None = None,
    ) -> int:
        """Compute this engine's share of what the store lacks of a pool.

        Several engines with the shards of one division fill one store together; whichever
        scores the pool when all are done finds everything there.

        Parameters
        ----------
        source, indicators, reference
            As for `score`.

        Returns
        -------
        int
            Rows that other shards have not filled yet, added up over stages; 0 if `score` has
            nothing left to compute.

        Raises
        ------
        InputError, ModelError, StoreError
            As for `score`.
        """
        self.definitions(indicators, reference)
        run, _, _ = self._run(source, indicators, reference)
        return run.left

    def score(
        self,
        source: Source | Sequence[Example],
        indicators: Sequence[Indicator],
        *,
        columns: Sequence[str] | None = None,
        reference: ReferenceSpec | None = None,
    ) -> ScoreTable:
        """Compute the columns of `indicators` for every example.

        Parameters
        ----------
        source : Source or sequence of Example
            The pool, in input order; it is read several times and its examples are not kept.
        indicators : sequence of Indicator
            What to compute; each pass they need is run once.
        columns : sequence of str, optional
            Which of their columns the table shall hold, in order; by default all.
        reference : ReferenceSpec, optional
            What pool-dependent indicators compare with; by default a sample of the pool.

        Returns
        -------
        ScoreTable
            One row per example, none missing; null where a value is undefined.

        Raises
        ------
        InputError
            If the source gives other examples when it is read again, or an indicator reads
            a model that was not named.
        ModelError
            If a model is not there.
        StoreError
            If a shard of the store is damaged.
        """
        # A model that is not there, or not theirs, shows before anything is computed.
        self.definitions(indicators, reference)
        run, index, codes = replace(self, shard=WHOLE)._run(source, indicators, reference)
        names = list(columns) if columns is not None else list(run.filled)
        return assemble(index, {name: run.filled[name] for name in names}, codes, run.recorded)

    def _run(
        self,
        source: Source | Sequence[Example],
        indicators: Sequence[Indicator],
        reference: ReferenceSpec | None,
    ) -> tuple[_Run, PoolIndex, FlagCodes]:
        groups = by_pass(indicators)
        pooled = any(isinstance(indicator, PoolIndicator) for indicator in indicators)
        codes = FlagCodes()
        index = PoolIndex.read(as_source(source), codes, text_keys=pooled)
        run = _Run(self, index, codes, reference or ReferenceSpec())
        run.stream(groups.pop("", []), groups.pop("tokens", []))
        for kind, group in groups.items():
            run.pass_over(kind, group)
        return run, index, codes

    def embed(self, source: Source | Sequence[Example]) -> Embeddings:
        """Return the sentence embedding of every example; those stored are not computed again.

        Parameters
        ----------
        source : Source or sequence of Example
            The pool, in input order.

        Raises
        ------
        InputError, ModelError, StoreError
            As for `score`.
        """
        codes = FlagCodes()
        index = PoolIndex.read(as_source(source), codes)
        with self.labour.gang(self.work([ENCODER])) as gang:
            (stored,) = Filler(index.rows(), codes, self.progress).run("embedding", gang)
        # The only flag of an encoder is that a text was cut.
        partial = stored.flags != NONE
        definition = dict(self.models.build([ENCODER]).definition)
        return Embeddings(stored.values, index.position, partial, definition)

    def work(self, needs: Sequence[Need], indicators: Sequence[Indicator] = ()) -> Work:
        """Return a pass over a pool as work; without `indicators`, its embeddings are stored."""
        return Work(self.models, tuple(needs), self.store, tuple(indicators))

    def definitions(
        self, indicators: Sequence[Indicator], reference: ReferenceSpec | None = None
    ) -> dict[str, Definition]:
        """Return how the columns of `indicators` would be defined, without computing them.

        Parameters
        ----------
        indicators, reference
            As for `score`, which may say more of a column: how neighbours were looked for.

        Raises
        ------
        InputError
            If an indicator reads a model that was not named, or not the one it is made for.
        ModelError
            If a model is not there.
        """
        found: dict[str, Definition] = {}
        for kind, group in by_pass(indicators).items():
            of_pass = self.models.build(_needs(group)).definition if kind else {}
            for indicator in group:
                own = indicator.definition(of_pass)
                if isinstance(indicator, PoolIndicator):
                    own["reference"] = (reference or ReferenceSpec()).kind
                found.update({column.name: own for column in indicator.columns})
        return found


class _Run:
    """One call of `Engine.score`: what it has filled and recorded so far."""

    def __init__(
        self, engine: Engine, index: PoolIndex, codes: FlagCodes, spec: ReferenceSpec
    ) -> None:
        self.filled: dict[str, Filled] = {}
        self.recorded: dict[str, Any] = {"instructmining": version("instructmining")}
        self._engine = engine
        self._index = index
        self._codes = codes
        self._spec = spec
        self._rows = index.rows()
        self._fillers: list[Filler] = []
        self._filler = self._filler_of(self._rows)

    @property
    def left(self) -> int:
        """Rows left to other shards that are not there yet, added up over stages."""
        return sum(filler.left for filler in self._fillers)

    def _filler_of(self, rows: Rows) -> Filler:
        engine = self._engine
        filler = Filler(rows, self._codes, engine.progress, engine.shard, engine.labour)
        self._fillers.append(filler)
        return filler

    def stream(self, plain: Sequence[Indicator], counting: Sequence[Indicator]) -> None:
        """Fill the columns that run no model."""
        if not plain and not counting:
            return
        store = self._engine.store
        counter = self._engine.models.build(_needs(counting)) if counting else None
        own = [sink_of(store, indicator, None) for indicator in plain]
        counted = [sink_of(store, indicator, counter) for indicator in counting]
        stage = _stage([*plain, *counting])
        self._enter([*own, *counted], self._filler.stream(stage, own, counter, counted))
        if counter is not None:
            self.recorded["tokens"] = dict(counter.recorded)

    def pass_over(self, kind: str, indicators: Sequence[Indicator]) -> None:
        """Fill the columns that read one pass of a model."""
        engine, needs = self._engine, _needs(indicators)
        pooled = [i for i in indicators if isinstance(i, PoolIndicator)]
        plain = [i for i in indicators if not isinstance(i, PoolIndicator)]
        if plain:
            with engine.labour.gang(engine.work(needs, plain)) as gang:
                self._enter(gang.sinks, self._filler.run(_stage(indicators), gang))
                self.recorded[kind] = gang.recorded
        if pooled:
            with engine.labour.gang(engine.work(needs)) as gang:
                self._compare(_stage(indicators), gang, pooled)
                self.recorded[kind] = gang.recorded

    def _enter(self, sinks: Sequence[Sink], stored: Sequence[Stored]) -> None:
        for sink, held in zip(sinks, stored, strict=True):
            for number, column in enumerate(cast(Indicator, sink.indicator).columns):
                values = held.values[:, number]
                self.filled[column.name] = Filled(values, sink.definition, held.flags)

    def _compare(self, stage: str, gang: Gang, indicators: Sequence[PoolIndicator]) -> None:
        """Embed the pool (stored), then compare every row with the reference (not stored).

        The comparison is cheap beside the embedding and depends on the whole pool, so it
        is done anew each time.
        """
        keys = cast(np.ndarray, self._index.text_keys)[self._index.first]
        compared, compared_keys, everyone = self._reference(keys)
        filler = self._filler if everyone is self._rows else self._filler_of(everyone)
        (stored,) = filler.run(stage, gang)
        if filler.left:  # to other shards: nothing to compare with yet
            return
        place = Lookup(everyone.digests).find(compared)
        # A whole pool is its own reference: gigabytes that need not stand there twice.
        whole = np.array_equal(place, np.arange(len(everyone)))
        embeddings = stored.values if whole else stored.values[place]
        reference = Reference(unpack(compared_keys), embeddings, self._spec.kind)
        self.recorded["reference"] = self._spec.describe(compared)
        own, texts = slice(len(self._rows)), unpack(keys)
        of_pass = self._engine.models.build(_needs(indicators)).definition
        for indicator in indicators:
            with blaming(indicator):
                found = indicator.compare(texts, stored.values[own], reference)
            definition = {
                **indicator.definition(of_pass),
                **found.definition,
                "reference": reference.kind,
            }
            for number, column in enumerate(indicator.columns):
                values = found.values[:, number]
                self.filled[column.name] = Filled(values, definition, stored.flags[own])
                if found.recorded:
                    self.recorded[column.name] = dict(found.recorded)

    def _reference(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, Rows]:
        """Return content hashes and text keys of the reference, and all rows to be embedded."""
        spec = self._spec
        if spec.source is None:
            chosen = spec.choose(self._rows.digests, keys)
            return self._rows.digests[chosen], keys[chosen], self._rows
        other = PoolIndex.read(spec.source, FlagCodes(), text_keys=True)
        candidates = np.flatnonzero(other.scorable)
        digests = other.digests[candidates]
        keys = cast(np.ndarray, other.text_keys)[candidates]
        chosen = spec.choose(digests, keys)
        digests, keys = digests[chosen], keys[chosen]
        new = np.flatnonzero(Lookup(self._rows.digests).find(digests) < 0)
        if not len(new):
            return digests, keys, self._rows
        # The reference stands in the order of its choice, but is read in that of its source.
        rows = other.first[other.position[candidates[chosen[new]]]]
        order = np.argsort(rows)
        part = Part(spec.source, rows[order], len(self._rows) + order)
        everyone = Rows(
            np.concatenate([self._rows.digests, digests[new]]), (*self._rows.parts, part)
        )
        return digests, keys, everyone


def _needs(indicators: Iterable[Indicator]) -> list[Any]:
    return [indicator.needs for indicator in indicators if indicator.needs]


def _stage(indicators: Iterable[Indicator]) -> str:
    return " ".join(indicator.label for indicator in indicators)
