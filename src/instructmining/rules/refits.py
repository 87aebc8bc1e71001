"""Many regressions at once: on every sample with a mixture left out, on every bootstrap draw.

Each is given by how often it counts each mixture. Cross-products of all of them come from one
matrix product; intercept and shares are projected out of them once, and whatever then chooses
columns works on what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from instructmining.rules.regression import MixtureMeans
from instructmining.rules.transforms import Floats

#: Variance of a share below which it does not vary among the mixtures counted.
_NO_SPREAD = 1e-12
#: Added to the sums of squares, relatively: a draw in which columns say the same then gives
#: some coefficients instead of an error, and no other is changed by more.
_JITTER = 1e-12


@dataclass(frozen=True)
class Moments:
    """Cross-products of standardised features and log loss, intercept and shares projected out.

    Parameters
    ----------
    means : MixtureMeans
        What is counted.
    weights : ndarray of shape (n_refits, n)
        Counts times the mixtures' weights.
    n : ndarray of shape (n_refits,)
        Mixtures counted.
    n_nuisance : ndarray of shape (n_refits,)
        Terms the shares amount to among them.
    total : ndarray of shape (n_refits, n_features)
        Sums of squares of the features around their means.
    xx : ndarray of shape (n_refits, n_features, n_features)
        Cross-products of the features, shares projected out.
    xy : ndarray of shape (n_refits, n_features)
        Those with the log loss.
    yy : ndarray of shape (n_refits,)
        Sum of squares of the log loss.
    center : ndarray of shape (n_refits, n_features + 1 + n_sources)
        Means of standardised features, log loss and shares.
    on_shares : ndarray of shape (n_refits, n_sources, n_features + 1)
        Coefficients of features and log loss on the shares.
    share_inverse : ndarray of shape (n_refits, n_sources, n_sources)
        Pseudo-inverse of the shares' cross-products.
    """

    means: MixtureMeans
    weights: Floats
    n: Floats
    n_nuisance: np.ndarray
    total: Floats
    xx: Floats
    xy: Floats
    yy: Floats
    center: Floats
    on_shares: Floats
    share_inverse: Floats

    @property
    def n_features(self) -> int:
        """Columns among which can be chosen."""
        return int(self.xy.shape[1])


#: What makes coefficients of standardised features, shape (n_refits, n_features), zero for a
#: column that is not chosen.
Chooser: TypeAlias = Callable[[Moments], Floats]


@dataclass(frozen=True)
class Refits:
    """Coefficients of many regressions.

    Parameters
    ----------
    coefficients : ndarray of shape (n_refits, n_features)
        Change of log loss per unit of each feature; 0 where it was not chosen.
    of_shares : ndarray of shape (n_refits, n_sources)
        Coefficients of the shares, of all ways to write them the smallest; 0 for a source no
        mixture counted holds, which so has the mean level of the others.
    levels : ndarray of shape (n_refits,)
        Mean log loss of the mixtures counted.
    x_means, share_means : ndarray of shape (n_refits, n_features) and (n_refits, n_sources)
        Means of the mixtures counted.
    """

    coefficients: Floats
    of_shares: Floats
    levels: Floats
    x_means: Floats
    share_means: Floats

    def predict(self, means: MixtureMeans, *, with_shares: bool) -> Floats:
        """Predict log losses of mixtures.

        Parameters
        ----------
        means : MixtureMeans
            With the features and sources the refits have.
        with_shares : bool
            Add what the shares say; without, it is what a rule that ships predicts.

        Returns
        -------
        ndarray of shape (n_refits, n)
        """
        own = (self.coefficients * self.x_means).sum(axis=1)
        predicted = (self.levels - own)[:, np.newaxis] + self.coefficients @ means.x.T
        if with_shares:
            own = (self.of_shares * self.share_means).sum(axis=1)
            predicted = predicted + self.of_shares @ means.shares.T - own[:, np.newaxis]
        return np.asarray(predicted, dtype=np.float64)


def refit(means: MixtureMeans, counts: Floats, chooser: Chooser) -> Refits:
    """Regress on many samples, choosing the columns anew in each.

    Parameters
    ----------
    means : MixtureMeans
        Mixtures and candidate features.
    counts : ndarray of shape (n_refits, n)
        How often each refit counts each mixture.
    chooser : callable
        One of `choose`.
    """
    found = moments(means, counts)
    slopes = chooser(found)
    p = found.n_features
    center, scale = _scale(means)
    of_shares = found.on_shares[:, :, p] - np.einsum("rsp,rp->rs", found.on_shares[..., :p], slopes)
    return Refits(
        coefficients=slopes / scale,
        of_shares=of_shares,
        levels=found.center[:, p] + means.y.mean(),
        x_means=found.center[:, :p] * scale + center,
        share_means=found.center[:, p + 1 :] + means.shares.mean(axis=0),
    )


def moments(means: MixtureMeans, counts: Floats) -> Moments:
    """Gather what choosing and estimating need, for every refit.

    Parameters
    ----------
    means : MixtureMeans
        Mixtures and candidate features.
    counts : ndarray of shape (n_refits, n)
        How often each refit counts each mixture.
    """
    values, p = _columns(means)
    weights = counts * means.weights
    total = weights.sum(axis=1)
    center = weights @ values / total[:, np.newaxis]
    products = (values[:, :, np.newaxis] * values[:, np.newaxis, :]).reshape(len(values), -1)
    cross = (weights @ products).reshape(len(weights), *[values.shape[1]] * 2)
    cross -= total[:, np.newaxis, np.newaxis] * center[:, :, np.newaxis] * center[:, np.newaxis, :]
    inverse, rank = _pseudo_inverse(cross[:, p + 1 :, p + 1 :], total)
    on_shares = inverse @ cross[:, p + 1 :, : p + 1]
    rest = cross[:, : p + 1, : p + 1] - cross[:, : p + 1, p + 1 :] @ on_shares
    spread = np.einsum("rii->ri", cross)[:, :p]
    xx = rest[:, :p, :p].copy()
    np.einsum("rii->ri", xx)[...] += _JITTER * total[:, np.newaxis]
    return Moments(
        means=means,
        weights=weights,
        n=counts.sum(axis=1),
        n_nuisance=rank,
        total=np.asarray(spread, dtype=np.float64),
        xx=xx,
        xy=rest[:, :p, p],
        yy=rest[:, p, p],
        center=center,
        on_shares=on_shares,
        share_inverse=inverse,
    )


def left_out_errors(found: Moments, penalties: Floats) -> Floats:
    """Mean squared errors of ridge regression, each mixture predicted without itself.

    Parameters
    ----------
    found : Moments
        The refits.
    penalties : ndarray of shape (n_penalties,)
        Times the sum of weights, added to the sum of squares of every standardised feature.

    Returns
    -------
    ndarray of shape (n_refits, n_penalties)
        Over the mixtures counted, by weight. In a bootstrap draw all copies of a mixture are
        left out together.

    Notes
    -----
    A mixture of total weight w and leverage w·h left out has the residual e / (1 − w·h), with
    the penalty held (Allen's PRESS), so nothing is fitted again.
    """
    values, p = _columns(found.means)
    centred = values[np.newaxis] - found.center[:, np.newaxis, :]
    shares = centred[..., p + 1 :]
    rest = centred[..., : p + 1] - shares @ found.on_shares
    sums = found.weights.sum(axis=1)
    base = 1.0 / sums[:, np.newaxis] + np.einsum(
        "rns,rst,rnt->rn", shares, found.share_inverse, shares, optimize=True
    )
    values_, vectors = np.linalg.eigh(found.xx)
    turned = rest[..., :p] @ vectors
    target = np.einsum("rpq,rp->rq", vectors, found.xy)
    errors = np.empty((len(sums), len(penalties)))
    for place, penalty in enumerate(penalties):
        shrunken = 1.0 / (values_ + penalty * sums[:, np.newaxis])
        residual = rest[..., p] - np.einsum("rnp,rp->rn", turned, shrunken * target)
        leverage = found.weights * (base + np.einsum("rnp,rp->rn", turned**2, shrunken))
        # Alone with a term, a mixture cannot be predicted without itself by any penalty.
        left = np.where(leverage > 1 - 1e-9, 0.0, residual / np.maximum(1 - leverage, 1e-9))
        errors[:, place] = (found.weights * left**2).sum(axis=1) / sums
    return errors


def _columns(means: MixtureMeans) -> tuple[Floats, int]:
    """Standardised features, log loss and shares side by side, and how many are features.

    All around their means, so that cross-products lose no digits.
    """
    center, scale = _scale(means)
    y = means.y - means.y.mean()
    shares = means.shares - means.shares.mean(axis=0)
    return np.column_stack([(means.x - center) / scale, y, shares]), means.x.shape[1]


def _scale(means: MixtureMeans) -> tuple[Floats, Floats]:
    return means.x.mean(axis=0), means.x.std(axis=0, ddof=1)


def _pseudo_inverse(cross: Floats, total: Floats) -> tuple[Floats, np.ndarray]:
    """Pseudo-inverses of symmetric matrices, shape (n_refits, k, k), and their ranks."""
    values, vectors = np.linalg.eigh(cross)
    kept = values > _NO_SPREAD * total[:, np.newaxis]
    inverted = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    inverse = (vectors * inverted[:, np.newaxis, :]) @ np.swapaxes(vectors, 1, 2)
    return np.asarray(inverse, dtype=np.float64), kept.sum(axis=1)
