"""Whether another sample of mixtures would have given the same rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructmining.rules.choose import Choosing, all_columns, chooser
from instructmining.rules.refits import refit
from instructmining.rules.regression import MixtureMeans
from instructmining.rules.transforms import Floats

#: A draw needs so many different mixtures more than terms, or it says nothing.
_SPARE = 2


@dataclass(frozen=True)
class Spread:
    """How a coefficient varies over bootstrap draws.

    Parameters
    ----------
    feature : str
        The column.
    interval : tuple of float
        2.5th and 97.5th percentile, columns held.
    same_sign : float
        Share of draws in which it has the sign it has in the rule, columns held.
    chosen : float
        Share of draws in which the choice, repeated, takes it.
    repeated : tuple of float
        2.5th and 97.5th percentile where the choice is repeated; 0 counts where not taken.
    """

    feature: str
    interval: tuple[float, float]
    same_sign: float
    chosen: float
    repeated: tuple[float, float]


@dataclass(frozen=True)
class Resampled:
    """A rule fitted again on bootstrap draws of the mixtures.

    Parameters
    ----------
    features : tuple of str
        All candidates.
    draws : ndarray of shape (n_draws, n_features)
        Coefficients with the chosen columns held; 0 for the others.
    draws_repeated : ndarray of shape (n_draws, n_features)
        With the choice repeated in every draw.
    spreads : tuple of Spread
        By candidate.
    n_left_out : int
        Draws left out because too few different mixtures were in them.
    """

    features: tuple[str, ...]
    draws: Floats
    draws_repeated: Floats
    spreads: tuple[Spread, ...]
    n_left_out: int


def bootstrap_counts(n_mixtures: int, n_draws: int, seed: int) -> Floats:
    """Count how often each draw with replacement takes each mixture, (n_draws, n_mixtures)."""
    rng = np.random.default_rng(seed)
    even = np.full(n_mixtures, 1.0 / n_mixtures)
    return rng.multinomial(n_mixtures, even, size=n_draws).astype(np.float64)


def resample(
    means: MixtureMeans, method: Choosing, coefficients: dict[str, float], counts: Floats
) -> Resampled:
    """Fit on bootstrap draws, with the columns held and with the choice repeated.

    Parameters
    ----------
    means : MixtureMeans
        All candidates, with the shares if they are in the model.
    method : {"none", "aicc", "ridge"}
        What chose the columns.
    coefficients : dict of feature to float
        Those of the rule.
    counts : ndarray of shape (n_draws, n_mixtures)
        As `bootstrap_counts` gives them.

    Notes
    -----
    In a draw some mixtures stand twice, so that AICc takes them for more evidence than they
    are; a repeated choice takes somewhat more columns than one on so many new mixtures would.
    """
    terms = 1 + len(coefficients) + means.n_nuisance
    enough = (counts > 0).sum(axis=1) >= min(terms + _SPARE, len(means) - 1)
    used = counts[enough] if enough.any() else counts
    places = [means.features.index(name) for name in coefficients]
    fixed = np.zeros((len(used), len(means.features)))
    # A penalty is chosen in every draw: it has no columns to hold.
    held = chooser("ridge") if method == "ridge" else all_columns
    fixed[:, places] = refit(means.only(tuple(coefficients)), used, held).coefficients
    repeated = refit(means, used, chooser(method)).coefficients if method == "aicc" else fixed
    spreads = tuple(
        Spread(
            feature=name,
            interval=_percentiles(fixed[:, i]),
            same_sign=float((fixed[:, i] * coefficients.get(name, 0.0) > 0).mean()),
            chosen=float((repeated[:, i] != 0).mean()),
            repeated=_percentiles(repeated[:, i]),
        )
        for i, name in enumerate(means.features)
    )
    return Resampled(means.features, fixed, repeated, spreads, len(counts) - len(used))


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
