"""Whether another sample of mixtures would have ranked the same rows first.

A rule is fitted on means over mixtures and applied to single rows, which lie far apart where
means lie close together; so a coefficient that is all right for the means may still leave the
order of the rows open. What is compared is the top of the ranking, since that is what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from instructmining.errors import RuleError
from instructmining.rules.frames import TableLike, column_matrix
from instructmining.rules.regression import MixtureMeans
from instructmining.rules.rule import Rule
from instructmining.rules.stability import Resampled
from instructmining.rules.transforms import Floats, apply_transform

#: Shares of the rows taken from the top of a ranking.
TOPS = (0.01, 0.05, 0.10)
#: Rows ranked; of more, as many are drawn, always the same.
MAX_ROWS = 5_000
#: Fewer rows have no top.
MIN_ROWS = 20

#: 2.5th percentile, median, 97.5th percentile.
Quantiles = tuple[float, float, float]


@dataclass(frozen=True)
class LengthRule:
    """Length alone, fitted as the rule is.

    Parameters
    ----------
    column, transform : str
        What the length is.
    slope : float
        Its coefficient.
    draws : ndarray of shape (n_draws,)
        Its coefficient in the bootstrap draws.
    """

    column: str
    transform: str
    slope: float
    draws: Floats


@dataclass(frozen=True)
class Overlap:
    """Share of rows two rankings have in common at the top, |A ∩ B| / K.

    Parameters
    ----------
    top : float
        K as a share of the rows; also what two unrelated rankings have in common.
    n : int
        K.
    refits, repeated : tuple of float
        2.5th percentile, median and 97.5th percentile over pairs of refits, with the columns
        held and with the choice repeated.
    with_length : float or None
        Of the rule and length alone.
    length_refits : tuple of float, or None
        Over pairs of refits on length alone, which can differ in direction only.
    """

    top: float
    n: int
    refits: Quantiles
    repeated: Quantiles
    with_length: float | None
    length_refits: Quantiles | None


@dataclass(frozen=True)
class RowUse:
    """How a column of the rule behaves on single rows, as shares of them.

    Parameters
    ----------
    column : str
        The raw column.
    undefined : float
        Without a value.
    outside : float or None
        Of the defined: outside the range of the rows the rule was fitted on; None: not known.
    clipped : float
        Of the defined: moved by clipping.
    beyond_means : float
        Of the defined: with a feature outside the range of the mixtures' means, so that the
        rule extrapolates.
    spread : float
        Standard deviation of the feature over rows, in those over the mixtures' means.
    """

    column: str
    undefined: float
    outside: float | None
    clipped: float
    beyond_means: float
    spread: float


@dataclass(frozen=True)
class Ranking:
    """How rows are ranked by refits of a rule, and how the rule uses them.

    Parameters
    ----------
    n_rows : int
        Rows of the table.
    n_ranked : int
        Those compared, `MAX_ROWS` at most.
    n_undefined : int
        Rows without a value in some candidate column or the length, which are not ranked.
    overlaps : tuple of Overlap
        At `TOPS`.
    columns : tuple of RowUse
        By column of the rule.
    """

    n_rows: int
    n_ranked: int
    n_undefined: int
    overlaps: tuple[Overlap, ...]
    columns: tuple[RowUse, ...]


def compare_rankings(
    rows: TableLike,
    candidates: Mapping[str, str],
    rule: Rule,
    refits: Resampled,
    length: LengthRule | None,
) -> tuple[int, tuple[Overlap, ...], int]:
    """Compare the rankings of fixed rows by refits of a rule.

    Parameters
    ----------
    rows : TableLike
        Raw indicator columns of a whole pool.
    candidates : mapping of column to transform
        All candidates, in the order of `refits`.
    rule : Rule
        The rule.
    refits : Resampled
        Its coefficients in bootstrap draws.
    length : LengthRule, optional
        What length alone gives.

    Returns
    -------
    tuple of int, tuple of Overlap, int
        Rows ranked, overlaps at `TOPS`, and rows without a value.

    Raises
    ------
    RuleError
        If a column is missing, or rows with a value in every one are fewer than `MIN_ROWS`.
    """
    columns = dict(candidates)
    x = row_features(rows, columns)
    lengths = np.empty((len(x), 0))
    if length is not None:
        lengths = row_features(rows, {length.column: length.transform})
    defined = ~np.isnan(np.column_stack([x, lengths])).any(axis=1)
    ranked = np.flatnonzero(defined)
    if len(ranked) < MIN_ROWS:
        raise RuleError(
            f"{len(ranked)} of {len(x)} rows have a value in each of {', '.join(columns)}, "
            f"at least {MIN_ROWS} are needed to compare rankings; score more rows, or leave "
            "--rows out"
        )
    if len(ranked) > MAX_ROWS:
        ranked = np.sort(np.random.default_rng(0).choice(ranked, MAX_ROWS, replace=False))
    own = np.zeros((1, len(columns)))
    own[0, [list(columns).index(name) for name in rule.columns_]] = rule.coef_
    tops = [top_rows(x[ranked], some) for some in (own, refits.draws, refits.draws_repeated)]
    if length is not None:
        slopes = np.array([length.slope, *length.draws])[:, np.newaxis]
        tops.append(top_rows(lengths[ranked], slopes))
    overlaps = tuple(_overlap(top, len(ranked), tops) for top in TOPS)
    return len(ranked), overlaps, int((~defined).sum())


def top_rows(x: Floats, coefficients: Floats) -> np.ndarray:
    """Rank rows by several sets of coefficients, lowest predicted loss first.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features)
        Features without NaN.
    coefficients : ndarray of shape (n_rankings, n_features)
        Of each ranking.

    Returns
    -------
    ndarray of shape (n_rankings, k), int
        Row numbers, as many as the widest of `TOPS` takes. Of rows alike the earlier goes
        first, as in a selection.
    """
    k = n_top(max(TOPS), len(x))
    best = np.empty((len(coefficients), k), dtype=np.int64)
    for place, own in enumerate(coefficients):
        # Column by column, as a matrix product may round two rows alike to different sums.
        predicted = np.zeros(len(x))
        for values, coefficient in zip(x.T, own, strict=True):
            predicted += coefficient * values
        best[place] = np.argsort(predicted, kind="stable")[:k]
    return best


def row_use(rows: TableLike, rule: Rule, means: MixtureMeans) -> tuple[RowUse, ...]:
    """Say how the rule's transforms and ranges suit single rows.

    Parameters
    ----------
    rows : TableLike
        Raw indicator columns of a whole pool.
    rule : Rule
        The rule.
    means : MixtureMeans
        What it was fitted on.
    """
    raw = column_matrix(rows, rule.columns_)
    outside = rule.n_outside(rows)
    features = row_features(rows, dict(zip(rule.columns_, rule.transforms_, strict=True)))
    found = []
    for place, (name, feature) in enumerate(zip(rule.columns_, rule.features, strict=True)):
        values = features[~np.isnan(features[:, place]), place]
        n = max(len(values), 1)
        seen = means.only((feature,)).x[:, 0]
        n_outside = outside[name]
        found.append(
            RowUse(
                column=name,
                undefined=1.0 - len(values) / len(raw),
                outside=None if n_outside is None else n_outside / n,
                clipped=_n_clipped(rule.transforms_[place], raw[:, place]) / n,
                beyond_means=float(((values < seen.min()) | (values > seen.max())).sum()) / n,
                spread=float(values.std() / seen.std(ddof=1)) if len(values) else 0.0,
            )
        )
    return tuple(found)


def row_features(rows: TableLike, columns: Mapping[str, str]) -> Floats:
    """Return the transformed columns of rows, shape (n_rows, n_columns); NaN where undefined."""
    raw = column_matrix(rows, tuple(columns))
    pairs = zip(columns.values(), raw.T, strict=True)
    return np.column_stack([apply_transform(*pair) for pair in pairs])


def _n_clipped(transform: str, values: Floats) -> int:
    if not transform.startswith("clip"):
        return 0
    known = values[np.isfinite(values)]
    return int((apply_transform("clip", known) != known).sum())


def n_top(top: float, n_rows: int) -> int:
    """Say how many rows a share of them is, at least one."""
    return max(1, round(top * n_rows))


def _overlap(top: float, n_rows: int, tops: list[np.ndarray]) -> Overlap:
    """Overlaps of the rule, its refits, those with the choice repeated and length alone."""
    n = n_top(top, n_rows)
    rule, fixed, repeated, *rest = (best[:, :n] for best in tops)
    lengths = rest[0] if rest else None
    return Overlap(
        top=top,
        n=n,
        refits=between_pairs(fixed, n_rows),
        repeated=between_pairs(repeated, n_rows),
        with_length=None if lengths is None else len(np.intersect1d(rule[0], lengths[0])) / n,
        length_refits=None if lengths is None else between_pairs(lengths[1:], n_rows),
    )


def between_pairs(best: np.ndarray, n_rows: int) -> Quantiles:
    """Share of rows that two of several rankings have in common at their tops.

    Parameters
    ----------
    best : ndarray of shape (n_rankings, n), int
        The rows each puts first.
    n_rows : int
        Rows that were ranked.

    Returns
    -------
    tuple of float
        Over all pairs: 2.5 %, median and 97.5 %; 1 with a single ranking.
    """
    if len(best) < 2:
        return 1.0, 1.0, 1.0
    sets = np.zeros((len(best), n_rows), dtype=np.float32)
    np.put_along_axis(sets, best, 1.0, axis=1)
    shared = (sets @ sets.T)[np.triu_indices(len(sets), 1)] / best.shape[1]
    low, median, high = np.quantile(shared, (0.025, 0.5, 0.975))
    return float(low), float(median), float(high)
