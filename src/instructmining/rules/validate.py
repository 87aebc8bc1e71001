"""How a rule does on mixtures and sources it never saw, beside what is simpler.

Whatever chose the columns chooses them again in every fold.

R² with a mixture left out is one minus the squared errors of all runs, each predicted without
any run of its mixture, over their squares around their mean. Without any column it is a little
below zero, since the mean of the others is predicted. R² with a source left out adds up, over
the sources, the squared errors of the runs on mixtures that hold the source, predicted from
the mixtures that do not; its baseline is the mean of those mixtures, so that it is zero without
any column: what a user knows of a new source who has no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructmining.rules.choose import all_columns
from instructmining.rules.refits import Chooser, refit
from instructmining.rules.regression import MixtureMeans, estimate, partial_points
from instructmining.rules.runtable import RunTable
from instructmining.rules.transforms import Floats

#: Names of what is compared.
RULE = "rule as shipped"
FULL = "columns and source shares"
BARE = "columns, estimated without shares"
LENGTH = "length alone"
LENGTH_AND_SHARES = "length and source shares"
SHARES = "source shares alone"
NOTHING = "no column"

#: Mixtures to spare that a fit without some source must have to be tried.
_SPARE = 2


@dataclass(frozen=True)
class Predictor:
    """Something that predicts log losses of mixtures.

    Parameters
    ----------
    name : str
        One of the names above.
    means : MixtureMeans
        Its candidate columns, and the shares if it is estimated with them.
    chooser : callable
        What chooses columns in every fold.
    with_shares : bool
        Whether the shares enter the prediction, too.
    """

    name: str
    means: MixtureMeans
    chooser: Chooser
    with_shares: bool

    @property
    def says_something(self) -> bool:
        """Whether it is more than a mean, whose ranks with a mixture left out mean nothing."""
        return bool(self.means.features) or self.with_shares

    def predict(self, counts: Floats) -> Floats:
        """Predict every mixture by refits on others, shape (n_refits, n_mixtures)."""
        found = refit(self.means, counts, self.chooser)
        return found.predict(self.means, with_shares=self.with_shares)


@dataclass(frozen=True)
class Score:
    """How well something predicts.

    Parameters
    ----------
    name : str
        What.
    r2, loo_r2 : float
        R² over runs: in the sample, and with each run's mixture left out.
    loo_spearman : float or None
        Rank correlation over mixtures of mean loss and prediction, each left out; None where
        all predictions are the same.
    source_r2 : float or None
        R² over runs with each source left out; None where no source could be.
    source_spearman : float or None
        Median over the sources of the rank correlation within what was left out.
    left_out : ndarray of shape (n_mixtures,)
        Predictions with the mixture left out.
    sources : mapping of str to (R², rank correlation)
        Of each source that could be left out.
    """

    name: str
    r2: float
    loo_r2: float
    loo_spearman: float | None
    source_r2: float | None
    source_spearman: float | None
    left_out: Floats
    sources: dict[str, tuple[float, float | None]]


@dataclass(frozen=True)
class Gain:
    """Difference of R² with a mixture left out.

    Parameters
    ----------
    of, over : str
        What gains over what.
    value : float
        The difference.
    interval : tuple of float
        95 % by bootstrap over mixtures of the errors left out; the fits are not repeated.
    """

    of: str
    over: str
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Added:
    """What a column says once length is known.

    Parameters
    ----------
    feature : str
        The column.
    estimate : float
        Its coefficient in the regression on length, itself and the shares.
    interval : tuple of float
        95 % interval of it (HC3).
    partial_r2 : float
        Share it explains, in the sample, of what length and shares leave.
    gain : Gain
        Of R² with a mixture left out, over length and shares.
    """

    feature: str
    estimate: float
    interval: tuple[float, float]
    partial_r2: float
    gain: Gain


@dataclass(frozen=True)
class Validation:
    """Scores, what is gained, and what columns add to length.

    Parameters
    ----------
    scores : mapping of name to Score
        The rule first.
    gains : tuple of Gain
        Of the rule, and of columns and shares, over what is simpler.
    added : tuple of Added
        By column; empty where the length is not known, or the only column.
    """

    scores: dict[str, Score]
    gains: tuple[Gain, ...]
    added: tuple[Added, ...]


def validate(
    means: MixtureMeans,
    table: RunTable,
    chooser: Chooser,
    length: MixtureMeans | None,
    counts: Floats,
) -> Validation:
    """Score a rule and what is simpler on mixtures and sources left out.

    Parameters
    ----------
    means : MixtureMeans
        All candidate columns, with the shares if the rule is estimated with them.
    table : RunTable
        The runs.
    chooser : callable
        What chose the columns.
    length : MixtureMeans, optional
        The length as only column, with the shares likewise.
    counts : ndarray of shape (n_draws, n_mixtures)
        Bootstrap draws, for the intervals of gains.
    """
    scores = {one.name: score(one, table) for one in predictors(means, chooser, length)}
    pairs = ((RULE, LENGTH), (RULE, SHARES), (FULL, LENGTH_AND_SHARES), (FULL, SHARES))
    gains = tuple(
        gain(scores[one], scores[other], table, counts)
        for one, other in pairs
        if one in scores and other in scores
    )
    added = () if length is None else _added(means, length, table, counts)
    return Validation(scores, gains, added)


def predictors(
    means: MixtureMeans, chooser: Chooser, length: MixtureMeans | None
) -> list[Predictor]:
    """List what is compared, the rule first; without shares in `means`, what needs none."""
    none = means.only(())
    found = [Predictor(RULE, means, chooser, with_shares=False)]
    if means.n_nuisance:
        found += [
            Predictor(FULL, means, chooser, with_shares=True),
            Predictor(BARE, means.without_shares(), chooser, with_shares=False),
            Predictor(SHARES, none, all_columns, with_shares=True),
        ]
    if length is not None:
        found.append(Predictor(LENGTH, length.without_shares(), all_columns, with_shares=False))
        if means.n_nuisance:
            found.append(Predictor(LENGTH_AND_SHARES, length, all_columns, with_shares=True))
    return [*found, Predictor(NOTHING, none.without_shares(), all_columns, with_shares=False)]


def score(one: Predictor, table: RunTable) -> Score:
    """Score a predictor in the sample, and on mixtures and sources left out."""
    n = len(one.means)
    left_out = np.diag(one.predict(1.0 - np.eye(n)))
    squares = float(((table.y - table.y.mean()) ** 2).sum())
    pooled, median, sources = _left_out_sources(one, table)
    return Score(
        name=one.name,
        r2=1.0 - float(squared_errors(table, one.predict(np.ones((1, n)))[0]).sum()) / squares,
        loo_r2=1.0 - float(squared_errors(table, left_out).sum()) / squares,
        loo_spearman=spearman(left_out, one.means.y) if one.says_something else None,
        source_r2=pooled,
        source_spearman=median,
        left_out=left_out,
        sources=sources,
    )


def gain(one: Score, other: Score, table: RunTable, counts: Floats) -> Gain:
    """Compare R² with a mixture left out, with an interval over mixtures."""
    less = squared_errors(table, other.left_out) - squared_errors(table, one.left_out)
    n_runs, totals = table.n_seeds, np.bincount(table.mixtures, weights=table.y)
    squares = np.bincount(table.mixtures, weights=table.y**2)
    around = counts @ squares - (counts @ totals) ** 2 / (counts @ n_runs)
    drawn = (counts @ less)[around > 0] / around[around > 0]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Gain(one.name, other.name, one.loo_r2 - other.loo_r2, (float(low), float(high)))


def squared_errors(table: RunTable, predicted: Floats) -> Floats:
    """Sum of the squared errors of each mixture's runs, shape (n_mixtures,)."""
    errors = (table.y - predicted[table.mixtures]) ** 2
    return np.asarray(np.bincount(table.mixtures, weights=errors), dtype=np.float64)


def spearman(one: Floats, other: Floats) -> float | None:
    """Rank correlation, ties at their mean rank; None where either is constant."""
    from scipy.stats import rankdata

    # Predictions that differ by rounding alone are the same.
    if len(one) < 2 or np.ptp(one) <= 1e-12 * abs(one).max() or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _left_out_sources(
    one: Predictor, table: RunTable
) -> tuple[float | None, float | None, dict[str, tuple[float, float | None]]]:
    """R² over all sources, median rank correlation, and both by source."""
    shares = table.means(table.shares)
    terms = 1 + one.means.x.shape[1] + one.means.n_nuisance
    folds = [
        (name, held)
        for name, held in zip(table.sources, (shares > 0).T, strict=True)
        if held.any() and (~held).sum() >= terms + _SPARE
    ]
    if not folds:
        return None, None, {}
    counts = np.array([~held for _, held in folds], dtype=np.float64)
    baselines = (counts * one.means.weights) @ one.means.y / (counts @ one.means.weights)
    found: dict[str, tuple[float, float | None]] = {}
    errors = base = 0.0
    for (name, held), predicted, mean in zip(folds, one.predict(counts), baselines, strict=True):
        own = float(squared_errors(table, predicted)[held].sum())
        plain = float(squared_errors(table, np.full(len(held), mean))[held].sum())
        plain = max(plain, np.finfo(float).tiny)
        found[name] = (1.0 - own / plain, spearman(predicted[held], one.means.y[held]))
        errors, base = errors + own, base + plain
    ranks = [rank for _, rank in found.values() if rank is not None]
    return 1.0 - errors / base, float(np.median(ranks)) if ranks else None, found


def _added(
    means: MixtureMeans, length: MixtureMeans, table: RunTable, counts: Floats
) -> tuple[Added, ...]:
    """Add each column to the length; one that the length determines is passed over."""
    if len(means) < 4 + means.n_nuisance:
        return ()
    plain = score(Predictor(LENGTH_AND_SHARES, length, all_columns, with_shares=True), table)
    found = []
    for name in _beside(means.features, length):
        both = replace(
            length,
            features=(*length.features, name),
            x=np.column_stack([length.x, means.only((name,)).x]),
        )
        xs, ys = partial_points(both, name)
        spread = float(means.weights @ xs**2)
        if spread <= 1e-12 * float(means.weights @ both.x[:, -1] ** 2):
            continue
        left = float(means.weights @ ys**2)
        explained = float(means.weights @ (xs * ys)) ** 2 / (spread * left) if left else 0.0
        own = estimate(both)
        low, high = own.intervals()[-1]
        scored = score(Predictor(f"length and {name}", both, all_columns, with_shares=True), table)
        found.append(
            Added(
                feature=name,
                estimate=float(own.coefficients[-1]),
                interval=(float(low), float(high)),
                partial_r2=explained,
                gain=gain(scored, plain, table, counts),
            )
        )
    return tuple(found)


def _beside(features: Sequence[str], length: MixtureMeans) -> list[str]:
    return [name for name in features if name not in length.features]
