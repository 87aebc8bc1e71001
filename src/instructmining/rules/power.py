"""How many mixtures find which effect."""

from __future__ import annotations

import math

#: A two-sided test at this level, ...
LEVEL = 0.05
#: ... found with this probability, is what "detectable" means.
POWER = 0.8
#: A column worth finding: a step of one standard deviation moves the log loss by so many of
#: its own; alone it would explain 9 % of the variance between mixtures.
WORTH_FINDING = 0.3


def standard_error(residual: float, n_mixtures: int, vif: float = 1.0) -> float:
    """Expect a standard error of a coefficient per standard deviation of its column.

    Parameters
    ----------
    residual : float
        Variance of the mean log loss of a mixture around the regression. As a share of the
        variance between mixtures, the error comes out in standard deviations of the log loss.
    n_mixtures : int
        At least 2.
    vif : float
        Variance inflation factor of the column.
    """
    return math.sqrt(residual * vif / (n_mixtures - 1))


def expected_standard_error(
    between: float,
    seeds: float,
    n_mixtures: int,
    n_seeds: int = 1,
    *,
    explained: float = 0.0,
    vif: float = 1.0,
) -> float:
    """Expect a standard error of a standardised coefficient, from the variances of a pilot.

    Parameters
    ----------
    between : float
        Variance of the log loss between mixtures, without the noise of seeds.
    seeds : float
        Variance of the log loss between seeds of one mixture.
    n_mixtures, n_seeds : int
        Mixtures to be run, and seeds of each.
    explained : float
        Share of `between` the columns are hoped to explain, below 1; 0 is the cautious guess.
    vif : float
        Variance inflation factor of the column in the design.

    Returns
    -------
    float
        In standard deviations of the mixtures' mean log loss per standard deviation of the
        column over mixtures.
    """
    total = between + seeds / n_seeds
    return standard_error(1.0 - explained * between / total, n_mixtures, vif)


def power(effect: float, error: float, degrees_of_freedom: float) -> float:
    """Probability that a two-sided t test at 5 % finds an effect.

    Parameters
    ----------
    effect, error : float
        The coefficient and its standard error, in one unit.
    degrees_of_freedom : float
        Mixtures minus terms of the regression.
    """
    from scipy.stats import nct, t

    # Beyond, t is normal, and scipy's series at its end.
    degrees_of_freedom = min(degrees_of_freedom, 1e6)
    limit = t.ppf(1 - LEVEL / 2, degrees_of_freedom)
    shift = abs(effect) / error
    # The far tail of a large shift is nothing, and beyond scipy's series.
    wrong = nct.cdf(-limit, degrees_of_freedom, shift) if shift < 5 else 0.0
    return float(nct.sf(limit, degrees_of_freedom, shift) + wrong)


def detectable(error: float, degrees_of_freedom: float) -> float:
    """Smallest effect found with 80 % power by a two-sided t test at 5 %, in units of `error`."""
    from scipy.optimize import brentq

    high = 4.0
    while power(high, 1.0, degrees_of_freedom) < POWER:
        high *= 2.0
    root = brentq(lambda shift: power(shift, 1.0, degrees_of_freedom) - POWER, 0.0, high)
    return float(root) * error


def upper_variance(variance: float, degrees_of_freedom: float) -> float:
    """Give the upper 80 % confidence limit of a variance that was estimated.

    A series planned with the estimate itself is too short as often as not; planned with this
    limit it is long enough four times in five (Browne, Statistics in Medicine 14, 1995).
    """
    from scipy.stats import chi2

    return variance * degrees_of_freedom / float(chi2.ppf(1 - POWER, degrees_of_freedom))


def mixtures_needed(
    n_terms: int, residual: float, vif: float = 1.0, effect: float = WORTH_FINDING
) -> int:
    """Fewest mixtures with which an effect is detectable.

    Parameters
    ----------
    n_terms : int
        Terms of the regression: intercept, shares and columns.
    residual : float
        Share of the variance between mixtures that is left around the regression.
    vif : float
        Variance inflation factor of the column.
    effect : float
        In standard deviations of the log loss per standard deviation of the column.
    """
    low = n_terms + 1
    high = 2 * low
    while not _finds(high, n_terms, residual, vif, effect):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if _finds(middle, n_terms, residual, vif, effect):
            high = middle
        else:
            low = middle + 1
    return low


def _finds(n_mixtures: int, n_terms: int, residual: float, vif: float, effect: float) -> bool:
    error = standard_error(residual, n_mixtures, vif)
    return detectable(error, n_mixtures - n_terms) <= effect
