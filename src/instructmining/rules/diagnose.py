"""What least squares hides: noise between seeds and mixtures, and a lack of fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from instructmining.rules.regression import MixtureMeans, estimate
from instructmining.rules.runtable import RunTable
from instructmining.rules.transforms import Floats


@dataclass(frozen=True)
class Noise:
    """Variances of the log loss.

    Parameters
    ----------
    mixtures : float
        Between the means of mixtures.
    seeds : float or None
        Within mixtures, pooled (pure error); None without a mixture of two runs.
    between : float or None
        Between mixtures once the noise of seeds in their means is taken off; at least 0.
    degrees_of_freedom : int
        Of `seeds`: runs minus mixtures.
    r2_ceiling : float or None
        R² over runs of a rule that knew the expected loss of every mixture: no rule does
        better on runs it has not seen. None without a mixture of two runs.
    """

    mixtures: float
    seeds: float | None
    between: float | None
    degrees_of_freedom: int
    r2_ceiling: float | None


def noise(table: RunTable) -> Noise:
    """Split the variance of the log loss into between mixtures and within."""
    means = table.means(table.y)
    spare = len(table.y) - table.n_mixtures
    mixtures = float(means.var(ddof=1))
    if spare == 0:
        return Noise(mixtures, None, None, 0, None)
    seeds = _within(table) / spare
    between = max(0.0, mixtures - seeds * float((1.0 / table.n_seeds).mean()))
    total = float(((table.y - table.y.mean()) ** 2).sum())
    ceiling = max(0.0, 1.0 - seeds * len(table.y) / total)
    return Noise(mixtures, seeds, between, spare, ceiling)


def mixture_weights(means: MixtureMeans, table: RunTable) -> Floats:
    """Weigh mixtures by how well their mean loss is known.

    Parameters
    ----------
    means : MixtureMeans
        With all candidate columns, and the shares if they are used; its weights are not read.
    table : RunTable
        Its runs.

    Returns
    -------
    ndarray of shape (n_mixtures,)
        1 on average. All 1 where every mixture has as many seeds, or none has two.

    Notes
    -----
    The mean of r seeds has the variance τ² + σ²/r: σ² of the seeds, known from the replicates,
    and τ² of the mixture, which the columns do not explain and no seed averages out. Weights
    are 1 / (τ² + σ²/r). They lie between all alike (τ² large) and as many as seeds (τ² = 0);
    either alone would waste runs where only some mixtures are repeated. τ² is estimated by
    moments from the residuals of the regression on all columns, once, and then held: in
    folds, in bootstrap draws and in all subsets of columns, so that their AICc compare.
    """
    ones = np.ones(table.n_mixtures)
    spare = len(table.y) - table.n_mixtures
    if spare == 0 or np.ptp(table.n_seeds) == 0:
        return ones
    seeds = _within(table) / spare / table.n_seeds
    full = estimate(replace(means, weights=ones))
    if full.degrees_of_freedom < 0.5:
        return ones
    residual = full.variance * full.degrees_of_freedom
    explained = float((seeds * (1.0 - full.leverage)).sum())
    variance = seeds + max(0.0, (residual - explained) / full.degrees_of_freedom)
    if not variance.min() > 0:
        return ones
    return np.asarray(len(ones) / variance / (1.0 / variance).sum(), dtype=np.float64)


@dataclass(frozen=True)
class LackOfFit:
    """Whether mixtures differ from the regression by more than seeds do from each other.

    Parameters
    ----------
    f : float
        Mean square of the mixtures around the regression over that of the seeds.
    degrees_of_freedom : tuple of int
        Of either.
    p : float
        Probability of such an F where the regression holds exactly.
    """

    f: float
    degrees_of_freedom: tuple[int, int]
    p: float


def lack_of_fit(means: MixtureMeans, table: RunTable) -> LackOfFit | None:
    """Test the regression against pure error; None without replicates or mixtures to spare.

    Parameters
    ----------
    means : MixtureMeans
        With the features and shares of the regression.
    table : RunTable
        Its runs; each counts alike here, as the test wants.

    Notes
    -----
    What it finds may be curvature, a column that is missing, or chance in which examples a
    mixture holds: anything about a mixture that its means do not tell.
    """
    from scipy.stats import f

    spare = len(table.y) - table.n_mixtures
    n_seeds = table.n_seeds.astype(np.float64)
    found = estimate(replace(means, weights=n_seeds / n_seeds.mean()))
    lacking = round(found.degrees_of_freedom)
    pure = _within(table)
    if spare == 0 or lacking < 1 or pure == 0:
        return None
    lack = float((n_seeds * (means.y - found.fitted) ** 2).sum())
    ratio = lack / lacking / (pure / spare)
    return LackOfFit(ratio, (lacking, spare), float(f.sf(ratio, lacking, spare)))


def _within(table: RunTable) -> float:
    """Sum of squares of runs around the mean of their mixture."""
    return float(((table.y - table.means(table.y)[table.mixtures]) ** 2).sum())
