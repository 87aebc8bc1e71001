"""What a language model's layers hold of a response, as features to train heads on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need
from instructmining.indicators.likelihood import Likelihood
from instructmining.models.base import CausalOutput
from instructmining.models.heads import stacked
from instructmining.scoring.engine import Engine


@dataclass(frozen=True)
class MeanStates(Indicator):
    """Mean states of some layers over the response, one column per number.

    Not in the registry: nobody reads thousands of columns, but scoring them like any
    others stores them, so that training goes on where it was stopped.

    Parameters
    ----------
    layers : tuple of int
        Which; `k` is ``hidden_states[k]`` of transformers.
    width : int
        Hidden size of the model.
    """

    layers: tuple[int, ...]
    width: int

    name: ClassVar[str] = "mean_states"

    @property
    def needs(self) -> Need:  # type: ignore[override]
        """The states of these layers."""
        return Need("causal", frozenset(f"states:{layer}" for layer in self.layers))

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column per layer and dimension."""
        names = (f"state_{layer}_{place}" for layer in self.layers for place in range(self.width))
        return tuple(Column(name, name, "1") for name in names)

    @property
    def label(self) -> str:
        """What messages call its columns: not each by its name."""
        return "states"

    def transform(self, examples: Sequence[Example], output: CausalOutput) -> np.ndarray:
        """Return the states of the layers side by side."""
        return stacked(output.states, self.layers).astype(np.float64)


@dataclass(frozen=True)
class Features:
    """What heads are trained on and compared with, for `n` responses.

    Parameters
    ----------
    states : ndarray of float32, shape (n, len(layers) * hidden size)
        NaN where a response cannot be run.
    nll : ndarray of float64, shape (n,)
        Mean negative log-likelihood per token.
    n_words : ndarray of int64, shape (n,)
        Words of the response.
    """

    states: np.ndarray
    nll: np.ndarray
    n_words: np.ndarray


def read_features(
    examples: Sequence[Example], layers: Sequence[int], width: int, engine: Engine
) -> Features:
    """Run the language model over responses; what the engine's store holds is not run again."""
    indicator = MeanStates(tuple(layers), width)
    names = [column.name for column in indicator.columns]
    frame = engine.score(examples, [indicator, Likelihood()], columns=[*names, "nll"]).frame
    return Features(
        frame.select(names).to_numpy().astype(np.float32),
        frame["nll"].to_numpy(),
        np.asarray([len(example.response.split()) for example in examples]),
    )
