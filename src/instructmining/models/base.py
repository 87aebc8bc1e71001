"""What a pass is, and what it hands to indicators. Imports no torch.

A **pass** is one model run once over examples; it does not know what an indicator means.
A `StreamedPass` takes examples as they come. A `PlannedPass` knows how to turn examples
into items with a cost (`prepare`) and items into an output (`run`): the scoring engine
plans batches of items by cost and calls `run` once per batch, however many indicators
read the output. Items hold token ids and no text, so that those of a large pool can wait
on disk for their batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from instructmining.examples import Example

OutputT_co = TypeVar("OutputT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Item:
    """One example made ready for a planned pass.

    Parameters
    ----------
    row : int
        Row of the pool, for messages.
    cost : int
        Tokens the model will see; batches are planned by it.
    group : str
        Items of different groups never share a batch.
    payload : tuple of ndarray of int32
        What the pass needs to run it, known to the pass alone.
    flags : tuple of str
        Reason codes, such as ``"truncated_prompt"``.
    """

    row: int
    cost: int
    group: str
    payload: tuple[np.ndarray, ...] = ()
    flags: tuple[str, ...] = ()


def unscorable(row: int, flag: str) -> Item:
    """Return the item of an example that cannot be run, and the reason; such share batches."""
    return Item(row, 0, "unscorable", flags=(flag,))


def encodable(text: str) -> str:
    """Return `text` as UTF-8 can hold it: lone surrogates, legal in JSON, become ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Pass(Protocol):
    """One model run once over examples."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the output's values depend on: model, weights, template, truncation."""

    @property
    def recorded(self) -> Mapping[str, Any]:
        """What is written down and part of the storage key, but never compared: dtype."""


class StreamedPass(Pass, Protocol[OutputT_co]):
    """A pass whose rows neither cost nor influence each other much: no plan is needed."""

    def run(self, examples: Sequence[Example]) -> OutputT_co:
        """Run any number of examples; arrays of the output have one row each, in order."""


class PlannedPass(Pass, Protocol[OutputT_co]):
    """A pass whose batches are planned over the whole pool."""

    #: Items at most this costly in sum (padding included) share a batch.
    budget: int

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example, in order."""

    def run(self, items: Sequence[Item]) -> OutputT_co:
        """Run one batch; arrays of the output have ``len(items)`` rows, in order."""


@dataclass(frozen=True)
class TokenOutput:
    """Token counts of a batch of `n` examples, template and end token not counted.

    Parameters
    ----------
    n_prompt : ndarray of int64, shape (n,)
        Tokens of the contents before the response.
    n_response : ndarray of int64, shape (n,)
        Tokens of the response.
    """

    n_prompt: np.ndarray
    n_response: np.ndarray


@dataclass(frozen=True)
class CausalOutput:
    """Likelihoods of a batch of `n` examples under a causal language model.

    Parameters
    ----------
    nll : ndarray of float64, shape (n,)
        Mean negative log-likelihood of the response tokens given the prompt, in nats.
    nll_alone : ndarray of float64, shape (n,), or None
        The same after the begin-of-sequence token alone; None if no indicator asked.
    states : mapping from int to ndarray of float32, shape (n, hidden size)
        Mean over the response's tokens of the states that leave a layer, for each layer an
        indicator asked for; `k` is ``hidden_states[k]`` of transformers.
    """

    nll: np.ndarray
    nll_alone: np.ndarray | None = None
    states: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderOutput:
    """Sentence embeddings of a batch of `n` examples.

    Parameters
    ----------
    embedding : ndarray of float32, shape (n, d)
        Rows of unit Euclidean length.
    """

    embedding: np.ndarray


@dataclass(frozen=True)
class RewardOutput:
    """Rewards of a batch of `n` examples under a reward model.

    Parameters
    ----------
    reward : ndarray of float64, shape (n,)
        The model's logit: unbounded, and of a scale of its own for every model.
    """

    reward: np.ndarray


@dataclass(frozen=True)
class EvaluatorOutput:
    """Answers of an evaluator to one yes-or-no question per dimension, for `n` examples.

    Parameters
    ----------
    logit : ndarray of float64, shape (n, 3)
        Logit of "Yes" minus logit of "No" for naturalness, coherence, understandability.
    """

    logit: np.ndarray
