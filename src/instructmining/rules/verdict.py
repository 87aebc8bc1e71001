"""A fit, held against what a rule should reach, and against rows to be ranked."""

from __future__ import annotations

from dataclasses import dataclass

from instructmining.rules.choose import VIF_LIMIT
from instructmining.rules.frames import TableLike
from instructmining.rules.ranking import Ranking, compare_rankings, row_use
from instructmining.rules.result import FitResult
from instructmining.rules.validate import FULL, RULE

#: R² with a mixture left out a rule should reach; the paper reports 0.52 in the sample.
R2_WANTED = 0.5
#: Share of the top 5 % that two refits should have in common.
OVERLAP_WANTED = 0.7
#: The top meant.
_TOP = 0.05
#: Share of rows outside the range of the mixture means from which it is said.
_MANY = 0.25


@dataclass(frozen=True)
class Bar:
    """What a rule should reach.

    Parameters
    ----------
    name : str
        What is measured.
    value : float
        What was reached.
    wanted : str
        What was wanted, such as ``at least 0.5``.
    met : bool
        Whether it was.
    """

    name: str
    value: float
    wanted: str
    met: bool


@dataclass(frozen=True)
class Verdict:
    """A fit and how it ranks rows.

    Parameters
    ----------
    result : FitResult
        The fit.
    ranking : Ranking or None
        How rows are ranked by refits; None where none were given.
    bars : tuple of Bar
        What was wanted, and what of it was reached.
    warnings : tuple of str
        Those of the fit, and what the ranking adds.
    """

    result: FitResult
    ranking: Ranking | None
    bars: tuple[Bar, ...]
    warnings: tuple[str, ...]


def judge(result: FitResult, rows: TableLike | None = None) -> Verdict:
    """Hold a fit against what a rule should reach.

    Parameters
    ----------
    result : FitResult
        The fit.
    rows : TableLike, optional
        Raw indicator columns of a whole pool, to be ranked by refits.

    Raises
    ------
    RuleError
        If `rows` lacks a column, or has too few rows with a value in every one.
    """
    ranking = None if rows is None else _ranking(result, rows)
    bars = _bars(result, ranking)
    return Verdict(result, ranking, bars, (*result.warnings, *_on_rows(ranking)))


def _ranking(result: FitResult, rows: TableLike) -> Ranking:
    n_ranked, overlaps, n_undefined = compare_rankings(
        rows, result.candidates, result.rule, result.resampled, result.length
    )
    used = row_use(rows, result.rule, result.means)
    n_rows = len(result.rule.transform_rows(rows))
    return Ranking(n_rows, n_ranked, n_undefined, overlaps, used)


def _on_rows(ranking: Ranking | None) -> list[str]:
    """Say what single rows make of the rule."""
    found = []
    for one in ranking.overlaps if ranking else ():
        if one.top == _TOP and one.refits[1] < OVERLAP_WANTED:
            found.append(
                f"another sample of mixtures would take other rows: of the top 5 % two refits "
                f"share {one.refits[1]:.0%} (median)"
            )
    for row in ranking.columns if ranking else ():
        if row.beyond_means > _MANY:
            found.append(
                f"{row.column}: {row.beyond_means:.0%} of the rows lie outside the range of the "
                "mixtures' means, where the rule extrapolates"
            )
    return found


def _bars(result: FitResult, ranking: Ranking | None) -> tuple[Bar, ...]:
    scores = result.validation.scores
    found = []
    for name in (RULE, FULL):
        if name in scores:
            value = scores[name].loo_r2
            wanted = f"at least {R2_WANTED}"
            found.append(Bar(f"R² left out, {name}", value, wanted, value >= R2_WANTED))
    for gain in result.validation.gains:
        name = f"gain of {gain.of} over {gain.over}"
        found.append(Bar(name, gain.value, "interval above 0", gain.interval[0] > 0))
    vif = max(one.vif for one in result.coefficients if one.vif is not None)
    found.append(Bar("largest VIF", vif, f"below {VIF_LIMIT:g}", vif < VIF_LIMIT))
    for overlap in ranking.overlaps if ranking else ():
        if overlap.top == _TOP:
            value = overlap.refits[1]
            wanted = f"at least {OVERLAP_WANTED}"
            name = "overlap of the top 5 % between refits"
            found.append(Bar(name, value, wanted, value >= OVERLAP_WANTED))
    return tuple(found)
