"""How the loss depends on how much of a ranked pool is trained on.

Losses are taken relative to those of the untuned model, so that several evaluation sets can be
averaged, each alike: a relative loss of 0.95 is 5 % below the untuned model's, on average over
the sets. `crossed` has the estimator and its intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from instructmining.evaluation.conclusions import Terms, holm
from instructmining.evaluation.crossed import Floats, LogRatio, log_ratio, stack


@dataclass(frozen=True)
class RelativeLosses:
    """Losses of one way of training, over those of the untuned model.

    Parameters
    ----------
    by_token, by_example : ndarray of shape (n_seeds, n_prompts)
        Prompts of all sets, one after another. The sum of a row is the relative loss of a
        seed: the mean over the sets, with every token or every example of a set alike.
    """

    by_token: Floats
    by_example: Floats

    @property
    def mean(self) -> float:
        """Mean relative loss over seeds, by token."""
        return float(self.by_token.sum(axis=1).mean())


@dataclass(frozen=True)
class SizePoint:
    """Loss of models tuned on so many rows, over prompts and seeds.

    Parameters
    ----------
    size, n_seeds : int
        Rows, and training seeds.
    loss : float
        Relative loss, by token.
    interval : tuple of float or None
        Of `loss`, over prompts and seeds; None with one seed.
    above : float
        Loss over that of the best size, less 1.
    above_interval : tuple of float or None
        Of `above`.
    above_error : float or None
        Its standard error.
    by_example : float
        Relative loss, by example.
    """

    size: int
    n_seeds: int
    loss: float
    interval: tuple[float, float] | None
    above: float
    above_interval: tuple[float, float] | None
    above_error: float | None
    by_example: float


@dataclass(frozen=True)
class Bump:
    """Three sizes the middle of which is worse than both others.

    Parameters
    ----------
    before, top, after : int
        Sizes, ascending.
    rise, fall : float
        Loss of the middle one over those of the others, less 1.
    """

    before: int
    top: int
    after: int
    rise: float
    fall: float


@dataclass(frozen=True)
class SizeCurve:
    """Loss against size.

    Parameters
    ----------
    points : tuple of SizePoint
        By size.
    best : int
        Size of the lowest loss.
    frugal : int
        Smallest size whose loss is within one standard error of it, that of their difference.
    best_by_example : int
        Size of the lowest loss with every example alike.
    bump : Bump or None
        The highest one whose rise and fall are both shown, over all pairs of sizes: the shape
        called double descent. None if there is none, or it cannot be told.
    """

    points: tuple[SizePoint, ...]
    best: int
    frugal: int
    best_by_example: int
    bump: Bump | None

    @property
    def largest(self) -> int:
        """Largest size there is."""
        return self.points[-1].size


def relative_losses(
    tuned: Sequence[Floats], untuned: Sequence[Floats], n_tokens: Sequence[Floats]
) -> RelativeLosses:
    """Pool the losses on several evaluation sets.

    Parameters
    ----------
    tuned : sequence of ndarray of shape (n_seeds, n_prompts)
        One for each set: negative log-likelihood of each reference, in nats.
    untuned, n_tokens : sequence of ndarray of shape (n_prompts,)
        One for each set: the same of the untuned model, and tokens of each reference.
    """
    n = len(tuned)
    rows = list(zip(tuned, untuned, n_tokens, strict=True))
    return RelativeLosses(
        np.concatenate([nll / (n * base.sum()) for nll, base, _ in rows], axis=1),
        np.concatenate([nll / k / (n * (base / k).sum()) for nll, base, k in rows], axis=1),
    )


def size_curve(
    losses: Mapping[int, RelativeLosses], untuned: RelativeLosses, terms: Terms | None = None
) -> SizeCurve:
    """Describe the loss as a function of size.

    Parameters
    ----------
    losses : mapping of int to RelativeLosses
        By size; all with the same seeds and prompts.
    untuned : RelativeLosses
        Of the untuned model, one row.
    terms : Terms, optional
        Level of intervals and tests.
    """
    terms = terms or Terms()
    sizes = sorted(losses)
    best = min(sizes, key=lambda size: losses[size].mean)
    reference = losses[best].by_token
    points = tuple(_point(size, losses[size], untuned, reference, terms) for size in sizes)
    near = [p.size for p in points if p.size <= best and p.above <= (p.above_error or 0.0)]
    return SizeCurve(
        points,
        best,
        min(near),
        min(sizes, key=lambda size: losses[size].by_example.sum(axis=1).mean()),
        _bump({size: losses[size].by_token for size in sizes}, terms),
    )


def _point(
    size: int, losses: RelativeLosses, untuned: RelativeLosses, best: Floats, terms: Terms
) -> SizePoint:
    table = losses.by_token
    whole = log_ratio(table, np.broadcast_to(untuned.by_token, table.shape))
    above = log_ratio(table, best)
    error = float(np.sqrt(above.seed_variance + above.prompt_variance))
    return SizePoint(
        size=size,
        n_seeds=len(table),
        loss=float(np.exp(whole.value)),
        interval=_ends(whole, terms, np.exp),
        above=float(np.expm1(above.value)),
        above_interval=_ends(above, terms, np.expm1),
        above_error=None if np.isnan(error) else error,
        by_example=float(losses.by_example.sum(axis=1).mean()),
    )


def _bump(tables: Mapping[int, Floats], terms: Terms) -> Bump | None:
    sizes = list(tables)
    pairs = list(combinations(range(len(sizes)), 2))
    if len(sizes) < 3 or len(tables[sizes[0]]) < 2:
        return None
    ratios = stack([log_ratio(tables[sizes[j]], tables[sizes[i]]) for i, j in pairs])
    shown = holm(ratios.level_of(np.abs(ratios.value))) < terms.level
    change = dict(zip(pairs, ratios.value, strict=True))
    sure = dict(zip(pairs, shown, strict=True))
    found = [
        (min(change[i, j], -change[j, k]), i, j, k)
        for i, j, k in combinations(range(len(sizes)), 3)
        if sure[i, j] and sure[j, k] and change[i, j] > 0 > change[j, k]
    ]
    if not found:
        return None
    _, i, j, k = max(found)
    rise, fall = float(np.expm1(change[i, j])), float(np.expm1(-change[j, k]))
    return Bump(sizes[i], sizes[j], sizes[k], rise, fall)


def _ends(ratio: LogRatio, terms: Terms, scale: np.ufunc) -> tuple[float, float] | None:
    half = ratio.half_width(terms.level)
    if np.isnan(half):
        return None
    return float(scale(ratio.value - half)), float(scale(ratio.value + half))
