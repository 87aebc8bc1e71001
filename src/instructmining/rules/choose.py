"""Choosing the columns of a rule: a recorded step, never part of the plain fit.

Choosing by R² in the sample always takes every column. Here columns are chosen by what they
would do on mixtures not seen: AICc pays for every coefficient, ridge leaves mixtures out.
What was considered is written down with the rule, and validation repeats the choice in every
fold, since a choice made once on all mixtures has seen those that are later left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from instructmining.errors import RuleError
from instructmining.rules.refits import Chooser, Moments, left_out_errors, moments
from instructmining.rules.regression import MixtureMeans
from instructmining.rules.transforms import Floats

#: ``none``: all columns named; ``aicc``: best subset; ``ridge``: all, shrunken.
Choosing = Literal["none", "aicc", "ridge"]
CHOOSINGS: tuple[str, ...] = get_args(Choosing)

#: Variance inflation factor above which a subset is refused and a coefficient called unstable.
VIF_LIMIT = 5.0
#: Best subset looks at 2^n of them.
MAX_CANDIDATES = 12
#: Penalties tried, in variances of the standardised features; the first is next to none.
PENALTIES = tuple(float(value) for value in np.geomspace(1e-4, 1e2, 25))


@dataclass(frozen=True)
class Considered:
    """One set of columns that could have been chosen.

    Parameters
    ----------
    features : tuple of str
        Names; empty for the mean, or the shares alone.
    aicc : float
        Akaike's criterion, corrected for few mixtures; lower is better. Differences count.
    vif : float
        Largest variance inflation factor, the shares in the model.
    """

    features: tuple[str, ...]
    aicc: float
    vif: float

    @property
    def refused(self) -> bool:
        """Whether collinearity forbids it."""
        return self.vif > VIF_LIMIT


@dataclass(frozen=True)
class Choice:
    """How the columns were chosen.

    Parameters
    ----------
    method : {"none", "aicc", "ridge"}
        How.
    candidates : tuple of str
        All features that were named.
    features : tuple of str
        The ones chosen, in the order named.
    considered : tuple of Considered
        For best subset, every one, lowest AICc first.
    penalty : float
        For ridge, in variances of the standardised features; else 0.
    """

    method: Choosing
    candidates: tuple[str, ...]
    features: tuple[str, ...]
    considered: tuple[Considered, ...] = ()
    penalty: float = 0.0


@dataclass(frozen=True)
class Subset:
    """The regression on some of the columns, in every refit.

    Parameters
    ----------
    found : Moments
        The refits.
    columns : sequence of int
        Which columns.
    inverse : ndarray of shape (n_refits, k, k)
        Of their cross-products.
    slopes : ndarray of shape (n_refits, k)
        Their coefficients.
    residual : ndarray of shape (n_refits,)
        Sum of squares that is left.
    """

    found: Moments
    columns: Sequence[int]
    inverse: Floats
    slopes: Floats
    residual: Floats

    @classmethod
    def of(cls, found: Moments, columns: Sequence[int]) -> Subset:
        """Regress on these columns."""
        inverse = np.linalg.inv(found.xx[:, columns][:, :, columns])
        own = found.xy[:, columns]
        slopes: Floats = np.einsum("rpq,rq->rp", inverse, own)
        residual: Floats = found.yy - (slopes * own).sum(axis=1)
        return cls(found, columns, np.asarray(inverse, dtype=np.float64), slopes, residual)

    @property
    def aicc(self) -> Floats:
        """Akaike's criterion, shape (n_refits,)."""
        return _aicc(self.found, self.residual, len(self.columns))

    @property
    def vif(self) -> Floats:
        """Largest variance inflation factor, shape (n_refits,)."""
        diagonal = np.einsum("rii->ri", self.inverse) * self.found.total[:, self.columns]
        largest: Floats = diagonal.max(axis=1)
        return largest


def choose(means: MixtureMeans, method: Choosing) -> Choice:
    """Choose columns on all mixtures.

    Parameters
    ----------
    means : MixtureMeans
        All candidates.
    method : {"none", "aicc", "ridge"}
        How.

    Raises
    ------
    RuleError
        If the method is unknown, there are too many candidates to try all subsets, or none
        does better than no column.
    """
    if method not in CHOOSINGS:
        raise RuleError(f"choosing by {method!r} is unknown; one of {', '.join(CHOOSINGS)}")
    if method == "none":
        return Choice(method, means.features, means.features)
    whole = moments(means, np.ones((1, len(means))))
    if method == "ridge":
        best = int(left_out_errors(whole, np.array(PENALTIES))[0].argmin())
        return Choice(method, means.features, means.features, penalty=PENALTIES[best])
    if len(means.features) > MAX_CANDIDATES:
        raise RuleError(
            f"{len(means.features)} candidate columns came, at most {MAX_CANDIDATES} can be tried "
            "in all subsets; name fewer, or use --choose ridge"
        )
    considered = _considered(whole, means.features)
    chosen = next(one for one in considered if not one.refused)
    if not chosen.features:
        raise RuleError(
            f"no set of {', '.join(means.features)} lowers AICc: over {len(means)} mixtures none "
            "says more than it costs, so there is no rule to write; run more mixtures, or fit "
            "the columns you name with --choose none and read its intervals"
        )
    return Choice(method, means.features, chosen.features, considered)


def chooser(method: Choosing) -> Chooser:
    """Give what repeats a choice in every fold or draw; see `refits.refit`."""
    if method == "aicc":
        return best_subset
    return best_ridge if method == "ridge" else all_columns


def all_columns(found: Moments) -> Floats:
    """Coefficients of all columns by least squares."""
    return _solve(found.xx, found.xy)


def best_subset(found: Moments) -> Floats:
    """Coefficients of the subset of lowest AICc whose variance inflation is allowed."""

    def cost(one: Subset) -> Floats:
        return np.where(one.vif <= VIF_LIMIT, one.aicc, np.inf)

    return cheapest_subset(found, cost, _aicc(found, found.yy, 0))


def cheapest_subset(found: Moments, cost: Callable[[Subset], Floats], none: Floats) -> Floats:
    """Coefficients of the subset of lowest cost, of those alike the first; the smaller come first.

    Parameters
    ----------
    found : Moments
        The refits.
    cost : callable
        Of a subset, by refit: shape (n_refits,).
    none : ndarray of shape (n_refits,)
        What no column at all costs.
    """
    n_refits, p = found.xy.shape
    slopes, lowest = np.zeros((n_refits, p)), none
    for columns in _subsets(p):
        one = Subset.of(found, columns)
        own = cost(one)
        better = own < lowest
        lowest = np.where(better, own, lowest)
        candidate = np.zeros((n_refits, p))
        candidate[:, columns] = one.slopes
        slopes = np.where(better[:, np.newaxis], candidate, slopes)
    return slopes


def best_ridge(found: Moments) -> Floats:
    """Coefficients shrunken by the penalty of least error on mixtures left out."""
    errors = left_out_errors(found, np.array(PENALTIES))
    penalty = np.array(PENALTIES)[errors.argmin(axis=1)] * found.weights.sum(axis=1)
    return _solve(found.xx + penalty[:, None, None] * np.eye(found.n_features), found.xy)


def _considered(whole: Moments, features: Sequence[str]) -> tuple[Considered, ...]:
    """Every subset, lowest AICc first, of those alike the smaller first."""
    listed = [Considered((), float(_aicc(whole, whole.yy, 0)[0]), 1.0)]
    for columns in _subsets(len(features)):
        one = Subset.of(whole, columns)
        names = tuple(features[i] for i in columns)
        listed.append(Considered(names, float(one.aicc[0]), float(one.vif[0])))
    return tuple(sorted(listed, key=lambda one: one.aicc))


def _subsets(n: int) -> list[list[int]]:
    return [list(some) for size in range(1, n + 1) for some in combinations(range(n), size)]


def _aicc(found: Moments, residual: Floats, n_columns: int) -> Floats:
    """AICc of Gaussian regressions; infinite where mixtures do not suffice.

    Parameters counted are intercept, shares, columns and the variance (Hurvich and Tsai, 1989).
    """
    k = found.n_nuisance + n_columns + 2
    spare = found.n - k - 1
    # A residual of rounding errors must not be told from another.
    floor = 1e-20 * np.maximum(found.yy, np.finfo(float).tiny)
    mean = np.maximum(residual, floor) / found.n
    likelihood = found.n * (np.log(2 * np.pi * mean) + 1)
    aicc = likelihood + 2 * k + 2 * k * (k + 1) / np.where(spare > 0, spare, 1)
    return np.asarray(np.where(spare > 0, aicc, np.inf), dtype=np.float64)


def _solve(matrices: Floats, vectors: Floats) -> Floats:
    solved = np.linalg.solve(matrices, vectors[..., np.newaxis])[..., 0]
    return np.asarray(solved, dtype=np.float64)
