"""What least squares hides: collinearity, noise, and how a rule does on mixtures it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructmining.rules.runlog import RunTable
from instructmining.rules.transforms import Floats


@dataclass(frozen=True)
class Noise:
    """Variances of the log loss.

    Parameters
    ----------
    mixtures : float
        Between the means of mixtures.
    seeds : float or None
        Within mixtures, pooled; None without a mixture of two runs.
    r2_ceiling : float or None
        Share of the variance over runs that lies between mixtures: no rule, which knows only
        the mixture, has a higher R². None without a mixture of two runs.
    """

    mixtures: float
    seeds: float | None
    r2_ceiling: float | None


def noise(table: RunTable) -> Noise:
    """Split the variance of the log loss into between mixtures and within."""
    means = table.means(table.y)
    within = float(((table.y - means[table.mixtures]) ** 2).sum())
    spare = len(table.y) - table.n_mixtures
    between = float(means.var(ddof=1))
    if spare == 0:
        return Noise(between, None, None)
    return Noise(between, within / spare, 1.0 - within / _total(table.y))


def variance_inflation(x: Floats) -> Floats:
    """Variance inflation factor of each column.

    Parameters
    ----------
    x : ndarray of shape (n, n_columns)
        Columns of full rank, none constant.

    Returns
    -------
    ndarray of shape (n_columns,)
        1 where a column is uncorrelated with the others; above 5 its coefficient is unstable.
    """
    correlation = np.atleast_2d(np.corrcoef(x, rowvar=False))
    return np.asarray(np.diag(np.linalg.inv(correlation)), dtype=np.float64)


def condition_number(x: Floats) -> float:
    """Ratio of the largest to the smallest singular value of the standardised columns."""
    return float(np.linalg.cond(standardised(x)))


def standardised(x: Floats) -> Floats:
    """Center columns and divide them by their standard deviation."""
    return np.asarray((x - x.mean(axis=0)) / x.std(axis=0, ddof=1), dtype=np.float64)


def r2(y: Floats, predicted: Floats) -> float:
    """Share of the variance of `y` explained; negative where the mean would do better."""
    return 1.0 - float(((y - predicted) ** 2).sum()) / _total(y)


def leave_one_mixture_out(table: RunTable) -> Floats:
    """Predict each run by a rule fitted without any run of its mixture.

    Returns
    -------
    ndarray of shape (n_runs,)
        With no columns in `table`, the mean of the other mixtures: what a rule has to beat.
    """
    x, y = table.means(table.x), table.means(table.y)
    design = np.column_stack([np.ones(len(y)), x])
    predicted = np.empty_like(table.y)
    for mixture in range(table.n_mixtures):
        others = np.arange(table.n_mixtures) != mixture
        coefficients = np.linalg.lstsq(design[others], y[others], rcond=None)[0]
        left_out = table.mixtures == mixture
        predicted[left_out] = coefficients[0] + table.x[left_out] @ coefficients[1:]
    return predicted


def _total(y: Floats) -> float:
    return float(((y - y.mean()) ** 2).sum())
