"""Log ratios of mean losses, with intervals over prompts and training seeds.

The losses of a method are a table of seeds by prompts, and both are samples: another seed and
another prompt of the kind would have given other numbers. They are crossed, not nested: every
seed is measured on every prompt.

**Estimate.** The log of one mean loss over another, each over all seeds and prompts.

**What a cell says.** The change of that estimate when its prompt is left out, to first order:
its share of the one total less its share of the other, in units of the mean share, over one
minus the prompt's share of the totals. This is the jackknife of a ratio estimator. Without
the last division a set whose long references make up most of the tokens looks surer than it
is: with the token counts of a real set, 7 % of true nulls came out as differences at 5 %.

**Its variance.** Mean squares of the cells, two-way: of seeds, of prompts and of what is left,
the interaction. The variance of the estimate is (seeds + prompts - interaction) / cells, as
for a mean over two crossed random factors. The part of the seeds, with their interaction, is
what the seeds' means vary; the part of the prompts is the rest, at least 0.

**Interval.** The squared half-width is t² times the variance, summed over the two parts, each
with the quantile of its own degrees of freedom: seeds less one, and effective prompts less
one, where the effective number is one over the sum of the squared shares. For normal effects
such an interval covers at least as often as it promises, however the variance is split: its
coverage is a concave function of a weighted mean of two that cover exactly. The usual single
t at Satterthwaite's degrees of freedom does not: with two seeds and a variance that is mostly
between seeds, it called up to 11 % of true nulls a difference at 5 %, and 7 % at 1 %.

References
----------
Banerjee, S. K. (1960), Sankhyā 22, 357-358: the interval.
Cornfield, J. and Tukey, J. W. (1956), Annals of Mathematical Statistics 27, 907-949: crossed
mean squares.
Cochran, W. G. (1977), Sampling Techniques, chapter 6: ratio estimators and their jackknife.
Kish, L. (1965), Survey Sampling: the effective number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Levels looked through for a p value, as powers of ten; no smaller one is told apart.
_LOWEST = -12.0
#: Halvings of that range: leaves 1e-12 of it.
_HALVINGS = 40


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of tables of seeds by prompts, each of shape (...,).

    Parameters
    ----------
    seeds, prompts, interaction : ndarray
        With `n_seeds - 1`, `n_prompts - 1` and the product of both as degrees of freedom;
        NaN for seeds and interaction where there is one seed.
    """

    seeds: Floats
    prompts: Floats
    interaction: Floats


@dataclass(frozen=True)
class LogRatio:
    """Logs of ratios of mean losses; every field has the same shape (...,).

    Parameters
    ----------
    value : ndarray
        The estimate.
    seed_variance : ndarray
        What seeds and their interaction with prompts add to its variance; NaN with one seed.
    prompt_variance : ndarray
        What prompts add. With one seed the interaction is in it and cannot be told apart.
    seed_freedom, prompt_freedom : ndarray
        Degrees of freedom of the two.
    """

    value: Floats
    seed_variance: Floats
    prompt_variance: Floats
    seed_freedom: Floats
    prompt_freedom: Floats

    def half_width(self, level: float | Floats) -> Floats:
        """Half of an interval that misses the truth in at most `level` of all cases.

        Returns
        -------
        ndarray of shape (...,)
            In log units; NaN with one seed, whose variance is not known.
        """
        from scipy.special import stdtrit

        tail = np.asarray(level) / 2
        # A quantile of no degrees of freedom is NaN.
        of_seeds = stdtrit(self.seed_freedom, tail) ** 2 * self.seed_variance
        of_prompts = stdtrit(self.prompt_freedom, tail) ** 2 * self.prompt_variance
        width: Floats = np.sqrt(of_seeds + of_prompts)
        return width

    def level_of(self, distance: Floats) -> Floats:
        """Smallest level whose interval reaches no farther than `distance`: a p value.

        Parameters
        ----------
        distance : ndarray of shape (...,)
            From the estimate, in log units: ``abs(value)`` for the test that there is no
            difference.

        Returns
        -------
        ndarray of shape (...,)
            From 1e-12, below which none is told apart, to 1; NaN with one seed. 1 where
            `distance` is not positive.
        """
        low = np.full(np.shape(distance), _LOWEST)
        high = np.zeros_like(low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = self.half_width(10.0**middle) <= distance
            low, high = np.where(inside, low, middle), np.where(inside, middle, high)
        level: Floats = np.where(distance > 0, 10.0**high, 1.0)
        return np.where(np.isnan(self.seed_variance), np.nan, level)


def log_ratio(numerator: Floats, denominator: Floats) -> LogRatio:
    """Estimate the log of one mean over another, over prompts and seeds.

    Parameters
    ----------
    numerator, denominator : ndarray of shape (..., n_seeds, n_prompts)
        Not negative, not all 0, at least two prompts; rows are paired by seed and columns by
        prompt. Axes before these hold tables that have nothing to do with each other.
    """
    n_seeds, n_prompts = numerator.shape[-2:]
    above, below = _shares(numerator), _shares(denominator)
    share = (above.mean(axis=-2) + below.mean(axis=-2)) / 2
    # A prompt that is everything leaves nothing to divide by, nor a difference to be divided.
    rest = np.maximum(1.0 - share, np.finfo(np.float64).eps)[..., None, :]
    squares = mean_squares(n_prompts * (above - below) / rest)
    if n_seeds > 1:
        of_prompts = np.maximum(squares.prompts - squares.interaction, 0.0)
    else:
        of_prompts = squares.prompts
    value = np.log(numerator.mean(axis=(-2, -1)) / denominator.mean(axis=(-2, -1)))
    effective = 1.0 / (share**2).sum(axis=-1)
    return LogRatio(
        value=np.asarray(value, dtype=np.float64),
        seed_variance=squares.seeds / (n_seeds * n_prompts),
        prompt_variance=of_prompts / (n_seeds * n_prompts),
        seed_freedom=np.full(np.shape(value), n_seeds - 1.0),
        # Where one prompt is nearly everything, no quantile is wide enough; this one is wide.
        prompt_freedom=np.maximum(effective - 1.0, 1.0),
    )


def mean_squares(cells: Floats) -> MeanSquares:
    """Split the variation of tables of seeds by prompts, two-way with one value per cell.

    Parameters
    ----------
    cells : ndarray of shape (..., n_seeds, n_prompts)
        At least two prompts.
    """
    n_seeds, n_prompts = cells.shape[-2:]
    mean = cells.mean(axis=(-2, -1), keepdims=True)
    seeds = cells.mean(axis=-1, keepdims=True) - mean
    prompts = cells.mean(axis=-2, keepdims=True) - mean
    left = cells - mean - seeds - prompts
    freedom = n_seeds - 1 or np.nan
    return MeanSquares(
        seeds=n_prompts * (seeds**2).sum(axis=(-2, -1)) / freedom,
        prompts=n_seeds * (prompts**2).sum(axis=(-2, -1)) / (n_prompts - 1),
        interaction=(left**2).sum(axis=(-2, -1)) / (freedom * (n_prompts - 1)),
    )


def stack(ratios: Sequence[LogRatio]) -> LogRatio:
    """Put estimates of one shape beside each other, along a new first axis."""
    names = [field.name for field in fields(LogRatio)]
    return LogRatio(**{name: np.array([getattr(one, name) for one in ratios]) for name in names})


def _shares(table: Floats) -> Floats:
    """Share of each cell in the mean total of a seed."""
    shares: Floats = table / table.sum(axis=-1).mean(axis=-1)[..., None, None]
    return shares
