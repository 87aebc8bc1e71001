"""Least squares on mixture means, with the shares of the sources as nuisance terms.

One point per mixture: its seeds share their indicator means, so runs are not independent,
and counting them as such would feign precision. Shares are in the model because a rule is
used within a pool, while style, and so every indicator, differs between sources; what is left
is what a column says among examples of one source.

The shares enter centred at their mean. That changes no coefficient, and makes the intercept
the one to ship: with it, the mean prediction **without** the shares is the mean loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructmining.rules.runtable import RunTable
from instructmining.rules.transforms import Floats

#: Level of every interval.
LEVEL = 0.95
#: Shares whose variance, of at most 1/4, is below this do not vary.
_NO_SPREAD = 1e-12
#: Share of its variance a column must keep, given the others, not to be determined by them.
_DETERMINED = 1e-12
#: Leverage from which a mixture is alone with one of the terms, and its residual nothing.
_ALONE = 1.0 - 1e-9


@dataclass(frozen=True)
class MixtureMeans:
    """What a regression is made on: one point per mixture.

    Parameters
    ----------
    features : tuple of str
        Names.
    x : ndarray of shape (n, n_features)
        Mean features.
    y : ndarray of shape (n,)
        Log loss, averaged over the mixture's seeds.
    shares : ndarray of shape (n, n_sources)
        Source shares, the nuisance terms; no columns where there shall be none.
    weights : ndarray of shape (n,)
        Weights of the mixtures, 1 on average.
    """

    features: tuple[str, ...]
    x: Floats
    y: Floats
    shares: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.y)

    def only(self, features: Sequence[str]) -> MixtureMeans:
        """Keep the named features, in the order named."""
        places = [self.features.index(name) for name in features]
        return replace(self, features=tuple(features), x=self.x[:, places])

    def without_shares(self) -> MixtureMeans:
        """Leave the nuisance terms out."""
        return replace(self, shares=self.shares[:, :0])

    @property
    def n_nuisance(self) -> int:
        """Terms the shares amount to: as a rule the sources but one."""
        return int(share_terms(self).shape[1])


def mixture_means(table: RunTable) -> MixtureMeans:
    """Average the runs of each mixture; all mixtures weigh alike."""
    return MixtureMeans(
        table.features,
        table.means(table.x),
        table.means(table.y),
        table.means(table.shares),
        np.ones(table.n_mixtures),
    )


def share_terms(means: MixtureMeans) -> Floats:
    """Independent terms that span the centred shares.

    Returns
    -------
    ndarray of shape (n, n_nuisance)
        Uncorrelated, of mean 0 and mean square 1 under the weights. No source is singled out
        as the one left out.
    """
    root = np.sqrt(means.weights)[:, np.newaxis]
    centred = means.shares - np.average(means.shares, axis=0, weights=means.weights)
    left, spread, _ = np.linalg.svd(root * centred, full_matrices=False)
    kept = spread**2 > _NO_SPREAD * len(means)
    return np.asarray(left[:, kept] / root * np.sqrt(means.weights.sum()), dtype=np.float64)


@dataclass(frozen=True)
class Estimate:
    """A regression, intercept first.

    Parameters
    ----------
    coefficients : ndarray of shape (1 + n_features,)
        Change of log loss per unit of each feature; the shares' are left out.
    covariance : ndarray of shape (1 + n_features, 1 + n_features)
        Robust to heteroscedasticity (HC3).
    degrees_of_freedom : float
        Mixtures minus terms; with a penalty, minus the trace of the hat matrix.
    fitted : ndarray of shape (n,)
        Prediction with the shares.
    leverage : ndarray of shape (n,)
        Diagonal of the hat matrix, from 0 to 1.
    variance : float
        Residual variance over the degrees of freedom; that of a mixture of weight 1.
    """

    coefficients: Floats
    covariance: Floats
    degrees_of_freedom: float
    fitted: Floats
    leverage: Floats
    variance: float

    def intervals(self) -> Floats:
        """95 % intervals by Student's t, shape (1 + n_features, 2)."""
        return t_intervals(self.coefficients, self.covariance, self.degrees_of_freedom)


def estimate(means: MixtureMeans, penalty: float = 0.0) -> Estimate:
    """Regress log loss on features and shares.

    Parameters
    ----------
    means : MixtureMeans
        Features of full rank, given the shares, unless there is a penalty.
    penalty : float
        Of ridge regression: times the sum of weights, added to the sum of squares of each
        standardised feature. Intercept and shares are not shrunken.

    Notes
    -----
    HC3 divides each residual by one minus its leverage (MacKinnon and White, 1985), which is
    the residual of a fit without that mixture; it keeps its level with few mixtures where
    HC0 and HC1 do not. A mixture alone with one of the terms, such as the only one that holds
    some source, tells nothing of the others and adds nothing.
    """
    terms, to_units = _terms(means)
    weighted, inverse = _solved(terms, means, penalty)
    hat = inverse @ weighted
    coefficients = hat @ means.y
    fitted = terms @ coefficients
    leverage = np.einsum("ij,ji->i", terms, hat)
    residual = means.y - fitted
    spare = float(len(means) - leverage.sum())
    # Exactly determined, the residual variance is unknown, not zero.
    variance = float(means.weights @ residual**2) / spare if spare > 1e-6 else float("nan")
    alone = leverage > _ALONE
    robust = np.where(alone, 0.0, residual / np.where(alone, 1.0, 1.0 - leverage))
    half = hat * robust
    return Estimate(
        to_units @ coefficients,
        to_units @ (half @ half.T) @ to_units.T,
        spare,
        fitted,
        leverage,
        variance,
    )


def clustered_intervals(means: MixtureMeans, table: RunTable, penalty: float = 0.0) -> Floats:
    """95 % intervals of the same coefficients from the runs, clustered by mixture.

    Parameters
    ----------
    means : MixtureMeans
        Of the runs of `table`, with any of its features.
    table : RunTable
        The runs; each counts its mixture's weight over the number of its seeds, so that the
        estimates are those of the mixture means.
    penalty : float
        As in `estimate`.

    Returns
    -------
    ndarray of shape (1 + n_features, 2)

    Notes
    -----
    The usual factor for few clusters, Student's t with the clusters minus one degrees of
    freedom (Cameron and Miller, 2015). Too narrow where mixtures are few.
    """
    terms, to_units = _terms(means)
    weighted, inverse = _solved(terms, means, penalty)
    coefficients = inverse @ weighted @ means.y
    residual = table.y - (terms @ coefficients)[table.mixtures]
    per_mixture = np.bincount(table.mixtures, weights=residual) / table.n_seeds
    half = inverse @ (weighted * per_mixture)
    n_runs, n = len(table.y), len(means)
    factor = n / (n - 1) * (n_runs - 1) / max(n_runs - terms.shape[1], 1)
    covariance = to_units @ (factor * half @ half.T) @ to_units.T
    return t_intervals(to_units @ coefficients, covariance, n - 1)


def t_intervals(center: Floats, covariance: Floats, degrees_of_freedom: float) -> Floats:
    """95 % intervals by Student's t, shape (n, 2)."""
    from scipy.stats import t

    quantile = t.ppf(0.5 + LEVEL / 2, max(degrees_of_freedom, 1e-6))
    half = quantile * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return np.column_stack([center - half, center + half])


def variance_inflation(means: MixtureMeans) -> Floats:
    """Variance inflation factor of each feature, the shares in the model.

    Returns
    -------
    ndarray of shape (n_features,)
        1 where a feature is uncorrelated with the others and the shares; above 5 its
        coefficient is unstable. At most 1e12, where the others determine it.
    """
    center = np.average(means.x, axis=0, weights=means.weights)
    total = means.weights @ (means.x - center) ** 2
    rest = [means.weights @ partial_points(means, name)[0] ** 2 for name in means.features]
    return np.asarray(total / np.maximum(rest, _DETERMINED * total), dtype=np.float64)


def condition_number(means: MixtureMeans) -> float:
    """Ratio of largest to smallest singular value of the features, shares projected out.

    Each is scaled to unit length first, so units do not matter.
    """
    rest = np.sqrt(means.weights)[:, np.newaxis] * partialled(means)
    return float(np.linalg.cond(rest / np.sqrt((rest**2).sum(axis=0))))


def partialled(means: MixtureMeans) -> Floats:
    """Features less what intercept and shares explain of them, shape (n, n_features)."""
    return _residuals(means, np.empty((len(means), 0)), means.x)


def partial_points(means: MixtureMeans, feature: str) -> tuple[Floats, Floats]:
    """One feature and the log loss, less what all other terms explain of either.

    The slope of the second over the first is the feature's coefficient.

    Returns
    -------
    tuple of ndarray of shape (n,)
    """
    place = means.features.index(feature)
    others = np.delete(means.x, place, axis=1)
    both = _residuals(means, others, np.column_stack([means.x[:, place], means.y]))
    return both[:, 0], both[:, 1]


def _residuals(means: MixtureMeans, others: Floats, values: Floats) -> Floats:
    root = np.sqrt(means.weights)[:, np.newaxis]
    terms = root * np.column_stack([np.ones(len(means)), share_terms(means), others])
    # Columns of one length, so that the cut-off for rank does not depend on units.
    terms = terms / np.sqrt((terms**2).sum(axis=0))
    explained = terms @ np.linalg.lstsq(terms, root * values, rcond=None)[0]
    return np.asarray(values - explained / root, dtype=np.float64)


def _terms(means: MixtureMeans) -> tuple[Floats, Floats]:
    """Terms of the model, standardised, and what turns their coefficients into units of x."""
    n_features = means.x.shape[1]
    center = np.average(means.x, axis=0, weights=means.weights)
    spread = means.x.std(axis=0, ddof=1)
    terms = np.column_stack([np.ones(len(means)), (means.x - center) / spread, share_terms(means)])
    to_units = np.zeros((1 + n_features, terms.shape[1]))
    to_units[0, 0] = 1.0
    to_units[0, 1 : 1 + n_features] = -center / spread
    to_units[1:, 1 : 1 + n_features] = np.diag(1.0 / spread)
    return terms, to_units


def _solved(terms: Floats, means: MixtureMeans, penalty: float) -> tuple[Floats, Floats]:
    """Weighted terms, transposed, and the inverse of their cross-products with the penalty."""
    weighted = terms.T * means.weights
    n_features = means.x.shape[1]
    shrunken = np.zeros(terms.shape[1])
    shrunken[1 : 1 + n_features] = penalty * means.weights.sum()
    inverse = np.linalg.pinv(weighted @ terms + np.diag(shrunken), _DETERMINED, hermitian=True)
    return weighted, np.asarray(inverse, dtype=np.float64)
