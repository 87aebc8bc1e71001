"""Where the readouts of a pass are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Indicator
from instructmining.models.base import Pass
from instructmining.scoring.store import Shelf, Store
from instructmining.scoring.table import Definition


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
        self,
        digests: Sequence[str],
        values: np.ndarray,
        flags: Sequence[Sequence[str]],
        lacking: np.ndarray,
    ) -> None:
        """Store, of some rows, those that are lacking, as one shard."""
        fresh = np.flatnonzero(lacking).tolist()
        if fresh:
            kept = [digests[index] for index in fresh]
            self.shelf.append(kept, values[fresh], [flags[index] for index in fresh])


def sink_of(store: Store, indicator: Indicator, own_pass: Pass | None) -> Sink:
    """Return the sink of an indicator's columns."""
    definition = indicator.definition(own_pass.definition if own_pass else {})
    recorded = own_pass.recorded if own_pass else {}
    shelf = store.shelf(definition, recorded, len(indicator.columns))
    return Sink(definition, shelf, indicator.values, indicator)


def embedding_sink(store: Store, own_pass: Pass) -> Sink:
    """Return the sink of the embeddings themselves."""
    definition = {"indicator": "embedding", "version": 1, **own_pass.definition}
    shelf = store.shelf(definition, own_pass.recorded, None, np.float32)
    return Sink(definition, shelf, lambda _, output: output.embedding)
