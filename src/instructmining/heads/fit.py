"""Heads trained on pairs of a better and a worse response, as Bradley and Terry model them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from instructmining.errors import InputError
from instructmining.models.heads import Head

#: Penalties tried; on standardised states, so their scale is the same for every model.
PENALTIES = (1e2, 1e3, 1e4, 1e5, 1e6)
_FOLDS = 5
# A column so much larger needs weights so small that their penalty is nothing.
_FREE = 30.0
#: Groups below which cross-validation says nothing.
LEAST_GROUPS = 2 * _FOLDS


@dataclass(frozen=True)
class Pairs:
    """Which of two responses is the better one, by their places among all responses.

    Parameters
    ----------
    better, worse : ndarray of int64, shape (p,)
        Places in the features.
    groups : ndarray of str or int, shape (p,)
        Pairs of one group (of one instruction) are never split.
    """

    better: np.ndarray
    worse: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.better)


@dataclass(frozen=True)
class Fitted:
    """A head, and what its training says of it.

    Parameters
    ----------
    head : Head
        Trained on all pairs.
    penalty : float
        The penalty of least log loss in cross-validation.
    margins : ndarray of float64, shape (p,)
        Score of the better minus that of the worse response of every pair, by a head
        trained with that penalty on the other groups' pairs.
    """

    head: Head
    penalty: float
    margins: np.ndarray


def fit_head(column: str, design: Design, *, penalties: Sequence[float] = PENALTIES) -> Fitted:
    """Train a head so that better responses score higher.

    Parameters
    ----------
    column : str
        The column the head fills.
    design : Design
        What is known.
    penalties : sequence of float
        What cross-validation chooses from.

    Raises
    ------
    InputError
        If there are too few groups to choose a penalty by cross-validation.
    """
    n_groups = len(np.unique(design.pairs.groups))
    if n_groups < LEAST_GROUPS:
        raise InputError(
            f"{column}: {n_groups} different instructions among the pairs; at least "
            f"{LEAST_GROUPS} are wanted to choose the penalty; give more pairs"
        )
    tried = {penalty: design.left_out(penalty) for penalty in penalties}
    penalty = min(penalties, key=lambda p: design.log_loss(tried[p][0]))
    return Fitted(design.head(column, penalty), penalty, tried[penalty][1])


@dataclass(frozen=True)
class Design:
    """Pairs with the states of their responses.

    The probability that a response is the better of two is the logistic function of the
    difference of their scores (Bradley and Terry 1952), which are linear in the states;
    the squared weights on standardised states are penalised.

    Parameters
    ----------
    states : ndarray of float32, shape (n, len(layers) * hidden size)
        Mean states of the responses, layers side by side.
    pairs : Pairs
        What is known; all its responses have states.
    layers : sequence of int
        The layers of `states`, in order.
    nuisance : ndarray of float, shape (n, k), optional
        What may explain preferences while the head is trained but is no part of its score,
        such as the logarithm of the length.
    weights : ndarray of float, shape (p,), optional
        How much every pair counts; by default all alike.
    """

    states: np.ndarray
    pairs: Pairs
    layers: Sequence[int]
    nuisance: np.ndarray | None = None
    weights: np.ndarray | None = None

    def head(self, column: str, penalty: float) -> Head:
        """Train a head on all pairs."""
        found = _weights(self._differences, self._counts, penalty)[: self._width]
        weight = (found / self._spread).astype(np.float32)
        centre = self._responses.mean(axis=0, dtype=np.float64)
        bias = -float(centre @ weight.astype(np.float64))
        return Head(column, tuple(self.layers), weight.reshape(len(self.layers), -1), bias)

    def left_out(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the margin of every pair by a head of the other folds, and without nuisance."""
        from sklearn.model_selection import GroupKFold

        features, width = self._differences, self._width
        whole, own = np.empty(len(features)), np.empty(len(features))
        for train, test in GroupKFold(_FOLDS).split(features, groups=self.pairs.groups):
            weights = _weights(features[train], self._counts[train], penalty)
            whole[test] = features[test] @ weights
            own[test] = features[test, :width] @ weights[:width]
        return whole, own

    def log_loss(self, margins: np.ndarray) -> float:
        """Return the mean over pairs, as often as they count."""
        return float(np.average(np.logaddexp(0.0, -margins), weights=self._counts))

    @property
    def _width(self) -> int:
        return int(self.states.shape[1])

    @cached_property
    def _counts(self) -> np.ndarray:
        return np.ones(len(self.pairs)) if self.weights is None else self.weights

    @cached_property
    def _responses(self) -> np.ndarray:
        found: np.ndarray = self.states[np.union1d(self.pairs.better, self.pairs.worse)]
        return found

    @cached_property
    def _spread(self) -> np.ndarray:
        spread: np.ndarray = self._responses.std(axis=0, dtype=np.float64)
        # A dimension that hardly varies carries noise, which scaling would blow up.
        floor: float = 1e-3 * float(np.median(spread)) + 1e-12
        return spread.clip(min=floor)

    @cached_property
    def _differences(self) -> np.ndarray:
        better, worse = self.pairs.better, self.pairs.worse
        features: np.ndarray = (self.states[better] - self.states[worse]) / self._spread
        if self.nuisance is None:
            return features
        extra = self.nuisance[better] - self.nuisance[worse]
        return np.hstack([features, extra / np.maximum(extra.std(axis=0), 1e-12) * _FREE])


def _weights(features: np.ndarray, counts: np.ndarray, penalty: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    # Which response stands first says nothing: half the pairs are turned round.
    sign = np.where(np.arange(len(features)) % 2, 1.0, -1.0)
    model = LogisticRegression(C=1 / penalty, fit_intercept=False, max_iter=1_000)
    model.fit(features * sign[:, None], sign, sample_weight=counts)
    found: np.ndarray = model.coef_[0]
    return found
