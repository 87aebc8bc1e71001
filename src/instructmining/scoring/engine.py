"""The scoring engine: examples in, a table of columns out, each pass run once.

For every distinct pass the engine asks the store which rows it lacks, plans batches over
the whole pool (so that an interrupted run meets the same batches again, and with them
the same bits), runs those that hold a missing row and lets each indicator read the
output. A finished batch is on disk before the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
import polars as pl

from instructmining.examples import Example
from instructmining.indicators.base import Indicator, PoolIndicator, Reference
from instructmining.models.base import Item, Pass
from instructmining.models.batching import plan_batches
from instructmining.scoring.passes import Models
from instructmining.scoring.reference import ReferenceSpec, text_key
from instructmining.scoring.store import Shelf, Store, Stored
from instructmining.scoring.table import Definition, ScoreTable

#: Rows per batch for indicators that read no model.
_CHUNK = 4_096


class Progress(Protocol):
    """What a caller may watch: one stage per pass."""

    def start(self, stage: str, total: int, reused: int) -> None:
        """Begin a stage of `total` rows of which `reused` are stored already."""

    def advance(self, rows: int) -> None:
        """Note that `rows` more rows are finished and on disk."""


class Silent:
    """Watches nothing."""

    def start(self, stage: str, total: int, reused: int) -> None:
        """Ignore the stage."""

    def advance(self, rows: int) -> None:
        """Ignore the rows."""


@dataclass
class _Sink:
    """Where one readout of a pass is stored, and how it is computed from the output."""

    definition: Definition
    shelf: Shelf
    read: Callable[[Sequence[Example], Any], np.ndarray]
    stored: Stored
    indicator: Indicator | None = None


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
    """

    store: Store
    models: Models = field(default_factory=Models)
    progress: Progress = field(default_factory=Silent)

    def score(
        self,
        examples: Sequence[Example],
        indicators: Sequence[Indicator],
        *,
        columns: Sequence[str] | None = None,
        reference: ReferenceSpec | None = None,
    ) -> ScoreTable:
        """Compute the columns of `indicators` for every example.

        Parameters
        ----------
        examples : sequence of Example
            The pool, in input order; ``row`` of each is its position.
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
        """
        spec = reference or ReferenceSpec()
        unique = list({e.digest: e for e in examples if e.scorable}.values())
        filled: dict[str, _Filled] = {}
        recorded: dict[str, Any] = {"instructmining": version("instructmining")}
        for kind, group in _by_pass(indicators).items():
            own_pass = self.models.build([i.needs for i in group if i.needs]) if kind else None
            pooled = [i for i in group if isinstance(i, PoolIndicator)]
            plain = [i for i in group if not isinstance(i, PoolIndicator)]
            stage = " ".join(column.name for i in group for column in i.columns)
            if plain:
                for sink in self._run(stage, own_pass, unique, plain):
                    assert sink.indicator is not None
                    values = _gather(sink.stored, unique)
                    filled.update(_columns(sink.indicator, sink.definition, values, sink.stored))
            if pooled:
                assert own_pass is not None
                filled.update(self._score_pooled(stage, own_pass, unique, pooled, spec, recorded))
            if own_pass is not None:
                recorded[kind] = dict(own_pass.recorded)
        names = list(columns) if columns is not None else list(filled)
        return _assemble(examples, unique, {name: filled[name] for name in names}, recorded)

    def _score_pooled(
        self,
        stage: str,
        own_pass: Pass[Any],
        unique: Sequence[Example],
        indicators: Sequence[PoolIndicator],
        spec: ReferenceSpec,
        recorded: dict[str, Any],
    ) -> dict[str, _Filled]:
        """Embed the pool (stored), then compare every row with the reference (not stored).

        The comparison is cheap beside the embedding and depends on the whole pool, so it
        is done anew each time.
        """
        compared = spec.choose(unique)
        everyone = list({e.digest: e for e in (*unique, *compared)}.values())
        (sink,) = self._run(stage, own_pass, everyone, [])
        reference = Reference(
            [text_key(example) for example in compared],
            _gather(sink.stored, compared),
            spec.kind,
        )
        embeddings = _gather(sink.stored, unique)
        keys = [text_key(example) for example in unique]
        recorded["reference"] = spec.describe(compared)
        filled: dict[str, _Filled] = {}
        for indicator in indicators:
            values = indicator.transform_pool(keys, embeddings, reference)
            definition = {**indicator.definition(own_pass.definition), "reference": spec.kind}
            filled.update(_columns(indicator, definition, values, sink.stored))
        return filled

    def _run(
        self,
        stage: str,
        own_pass: Pass[Any] | None,
        unique: Sequence[Example],
        indicators: Sequence[Indicator],
    ) -> list[_Sink]:
        """Fill the store with what is missing; return the sinks, loaded."""
        if indicators:
            sinks = [self._sink(indicator, own_pass) for indicator in indicators]
        else:
            assert own_pass is not None
            sinks = [self._embedding_sink(own_pass)]
        missing = {
            example.digest
            for example in unique
            if any(example.digest not in sink.stored.position for sink in sinks)
        }
        self.progress.start(stage, len(unique), len(unique) - len(missing))
        if not missing:
            return sinks
        for examples, flags, output in _batches(own_pass, unique, missing):
            for sink in sinks:
                fresh = [i for i, e in enumerate(examples) if e.digest not in sink.stored.position]
                if fresh:
                    sink.shelf.append(
                        [examples[i].digest for i in fresh],
                        sink.read(examples, output)[fresh],
                        [flags[i] for i in fresh],
                    )
            self.progress.advance(len(examples))
        for sink in sinks:
            sink.stored = sink.shelf.load()
        return sinks

    def _sink(self, indicator: Indicator, own_pass: Pass[Any] | None) -> _Sink:
        definition = indicator.definition(own_pass.definition if own_pass else {})
        shelf = self.store.shelf(
            definition, own_pass.recorded if own_pass else {}, len(indicator.columns)
        )
        return _Sink(definition, shelf, indicator.transform, shelf.load(), indicator)

    def _embedding_sink(self, own_pass: Pass[Any]) -> _Sink:
        definition = {"indicator": "embedding", "version": 1, **own_pass.definition}
        shelf = self.store.shelf(definition, own_pass.recorded, None, np.float32)
        return _Sink(definition, shelf, lambda _, output: output.embedding, shelf.load())


@dataclass(frozen=True)
class _Filled:
    """One finished column over the unique examples, its definition and the rows' flags."""

    values: np.ndarray
    definition: Definition
    stored: Stored


def _by_pass(indicators: Iterable[Indicator]) -> dict[str, list[Indicator]]:
    """Group indicators by the kind of pass they read, "" for none, the cheapest kind first."""
    groups: dict[str, list[Indicator]] = {}
    for indicator in indicators:
        groups.setdefault(indicator.needs.kind if indicator.needs else "", []).append(indicator)
    return {kind: groups[kind] for kind in sorted(groups, key=_COST_ORDER.index)}


# Cheap passes first: a mistake in a pool shows before the expensive one has begun.
_COST_ORDER = ["", "tokens", "encoder", "causal"]


def _batches(
    own_pass: Pass[Any] | None, unique: Sequence[Example], missing: set[str]
) -> Iterable[tuple[list[Example], list[Sequence[str]], Any]]:
    """Yield (examples, flags, output) of every batch that holds a missing row."""
    if own_pass is None:
        for start in range(0, len(unique), _CHUNK):
            chunk = [e for e in unique[start : start + _CHUNK] if e.digest in missing]
            if chunk:
                yield chunk, [()] * len(chunk), None
        return
    items = own_pass.prepare(unique)
    plan = plan_batches([i.cost for i in items], [i.group for i in items], own_pass.budget)
    for batch in plan:
        chosen: list[Item] = [items[i] for i in batch if items[i].example.digest in missing]
        if chosen:
            output = own_pass.run(chosen)
            yield [i.example for i in chosen], [i.flags for i in chosen], output


def _gather(stored: Stored, examples: Sequence[Example]) -> np.ndarray:
    return stored.values[[stored.position[example.digest] for example in examples]]


def _columns(
    indicator: Indicator, definition: Definition, values: np.ndarray, stored: Stored
) -> dict[str, _Filled]:
    return {
        column.name: _Filled(values[:, index], definition, stored)
        for index, column in enumerate(indicator.columns)
    }


def _assemble(
    examples: Sequence[Example],
    unique: Sequence[Example],
    filled: Mapping[str, _Filled],
    recorded: Mapping[str, Any],
) -> ScoreTable:
    """Spread the unique rows' values over all rows, in input order, with every flag."""
    index = {example.digest: position for position, example in enumerate(unique)}
    of_row = np.asarray([index.get(example.digest, -1) for example in examples], dtype=np.int64)
    known = of_row >= 0
    data: dict[str, Any] = {
        "row": pl.Series(np.arange(len(examples), dtype=np.int64)),
        "example": [example.digest for example in examples],
    }
    for name, column in filled.items():
        spread = np.full(len(examples), np.nan)
        spread[known] = column.values[of_row[known]]
        data[name] = pl.Series(spread, dtype=pl.Float64).fill_nan(None)
    flags = pl.Series(_all_flags(examples, unique, filled), dtype=pl.List(pl.String))
    frame = pl.DataFrame({**data, "flags": flags})
    definitions = {name: column.definition for name, column in filled.items()}
    return ScoreTable(frame, definitions, recorded)


def _all_flags(
    examples: Sequence[Example], unique: Sequence[Example], filled: Mapping[str, _Filled]
) -> list[list[str]]:
    scored = _scoring_flags(unique, filled)
    seen: set[str] = set()
    rows = []
    for example in examples:
        codes = dict.fromkeys(example.flags)
        if example.scorable:
            codes.update(scored[example.digest])
            if example.digest in seen:
                codes["duplicate"] = None
            seen.add(example.digest)
        elif not codes:
            codes["empty_response"] = None
        rows.append(list(codes))
    return rows


def _scoring_flags(
    unique: Sequence[Example], filled: Mapping[str, _Filled]
) -> dict[str, dict[str, None]]:
    """Return by content hash the codes of passes, and one for each null they do not explain."""
    found: dict[str, dict[str, None]] = {example.digest: {} for example in unique}
    for name, column in filled.items():
        undefined = np.isnan(column.values)
        for index, (digest, codes) in enumerate(found.items()):
            own = column.stored.flags[column.stored.position[digest]]
            codes.update(dict.fromkeys(own or ([f"undefined:{name}"] if undefined[index] else [])))
    return found
