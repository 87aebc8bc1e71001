"""Answers judged in pairs: who is preferred, how surely, and how far the judge is to be trusted.

Every pair is shown in both orders to a judge that sees order. It counts as won where both
verdicts prefer the one, as lost where both prefer the other, and as a tie where they do not
agree: then the order decided, or nothing. A pair with a reply that holds no verdict is left out
and counted.

**Preference** is the share won plus half the share tied, averaged over seeds within a prompt;
intervals are over prompts, by a bootstrap of them, since the answers of several seeds to one
prompt are not independent.

**At equal length** is the same share from a logistic regression of the outcome on the
difference of the two answers' lengths, read where it is 0: what is left of a preference when
longer answers are not preferred for their length (as in AlpacaEval 2). The difference goes
through ``tanh`` in units of its standard deviation.

**The judge** is measured on pairs people have judged: its agreement counts a tie as one half.
Below `LEAST_AGREEMENT` what it says is a test of the plumbing, not of answers.

References
----------
Zheng, L. et al. (2023), Judging LLM-as-a-judge with MT-Bench and Chatbot Arena: both orders.
Dubois, Y. et al. (2024), Length-controlled AlpacaEval: the regression.
Wilson, E. B. (1927), Journal of the American Statistical Association 22, 209-212.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.crossed import Floats
from instructmining.evaluation.judges.base import Judgement
from instructmining.evaluation.wins import wilson

#: Least share of people's judgements a judge must agree with to be taken for one.
LEAST_AGREEMENT = 0.6
# Pull of both coefficients towards 0, in prompts: keeps them finite where all are won.
_RIDGE = 0.05
_NEWTON_STEPS = 25


@dataclass(frozen=True)
class Share:
    """A share and its interval; both None where nothing was counted."""

    value: float | None
    interval: tuple[float, float] | None
    n: int

    @classmethod
    def of(cls, count: float, n: int, level: float) -> Share:
        """Make one with Wilson's interval."""
        return cls(count / n, wilson(count, n, level), n) if n else cls(None, None, 0)


@dataclass(frozen=True)
class OrderEffects:
    """What the order of answers does to a judge.

    Parameters
    ----------
    consistent : Share
        Pairs whose two verdicts agree, of those with both.
    first : Share
        Verdicts for the answer shown first, of those that are for one: 0.5 without bias.
    """

    consistent: Share
    first: Share


@dataclass(frozen=True)
class JudgeQuality:
    """A judge against people.

    Parameters
    ----------
    n, n_failed : int
        Pairs, and those without a verdict.
    agreement : Share
        With people, a tie counted as one half.
    longer : Share
        The same of preferring the longer answer, for comparison.
    order : OrderEffects or None
        None for a judge that does not see order.
    """

    n: int
    n_failed: int
    agreement: Share
    longer: Share
    order: OrderEffects | None

    @property
    def trusted(self) -> bool:
        """Whether it agrees with people often enough to be taken for a judge."""
        return self.agreement.value is not None and self.agreement.value >= LEAST_AGREEMENT


@dataclass(frozen=True)
class JudgedContrast:
    """The answers of one method against those of another.

    Parameters
    ----------
    method, other : str
        Which.
    n_prompts, n_seeds : int
        Prompts with a verdict, and seeds.
    n_failed : int
        Pairs of answers left out for want of a verdict.
    win, tie, lose : float
        Shares, averaged over seeds, then over prompts.
    win_interval : tuple of float
        Wilson's, as if each prompt had been judged once.
    preferred : float
        ``win + tie / 2``.
    interval : tuple of float
        Of `preferred`, by a bootstrap of prompts.
    family_interval : tuple of float
        The same at a level divided by the number of contrasts.
    at_equal_length : float
        `preferred` where both answers are of one length.
    equal_length_interval : tuple of float
        By the same bootstrap.
    tokens : tuple of float
        Mean length of the answers of each.
    order : OrderEffects or None
        None for a judge that does not see order.
    """

    method: str
    other: str
    n_prompts: int
    n_seeds: int
    n_failed: int
    win: float
    tie: float
    lose: float
    win_interval: tuple[float, float]
    preferred: float
    interval: tuple[float, float]
    family_interval: tuple[float, float]
    at_equal_length: float
    equal_length_interval: tuple[float, float]
    tokens: tuple[float, float]
    order: OrderEffects | None

    @property
    def conclusion(self) -> str:
        """``"preferred"``, ``"not preferred"`` or ``"no preference shown"``, over the family."""
        low, high = self.family_interval
        if low > 0.5:
            return "preferred"
        return "not preferred" if high < 0.5 else "no preference shown"


def codes(judgements: Sequence[Judgement | None], *, swapped: bool = False) -> Floats:
    """Turn verdicts into numbers: 1 for our answer, -1 for theirs, 0 for a tie, NaN for none.

    Parameters
    ----------
    judgements : sequence of Judgement or None
        None where none was asked for.
    swapped : bool
        Whether theirs was shown first.
    """
    sign = -1.0 if swapped else 1.0
    said = {"first": sign, "second": -sign, "tie": 0.0}
    verdicts = [None if one is None else one.verdict for one in judgements]
    return np.array([np.nan if verdict is None else said[verdict] for verdict in verdicts])


def judge_quality(
    forward: Floats, backward: Floats | None, longer: Floats, level: float = 0.05
) -> JudgeQuality:
    """Hold a judge against people.

    Parameters
    ----------
    forward, backward : ndarray of shape (n_pairs,)
        `codes` with the answer people prefer as ours, shown first and second; `backward` None
        for a judge that does not see order.
    longer : ndarray of shape (n_pairs,)
        1 where the answer people prefer is the longer, -1 where the shorter, else 0.
    level : float
        Of intervals.
    """
    both = _combined(forward, backward)
    known = both[~np.isnan(both)]
    return JudgeQuality(
        len(forward),
        int(np.isnan(both).sum()),
        Share.of(float((known + 1).sum() / 2), len(known), level),
        Share.of(float((longer + 1).sum() / 2), len(longer), level),
        None if backward is None else _order(forward, backward, level),
    )


def judged_contrasts(
    names: Sequence[tuple[str, str]],
    tables: Sequence[tuple[Floats, Floats | None]],
    lengths: Sequence[tuple[Floats, Floats]],
    terms: Terms | None = None,
) -> tuple[JudgedContrast, ...]:
    """Summarise judged pairs of methods, all of them one family.

    Parameters
    ----------
    names : sequence of (str, str)
        Method, and what it is held against.
    tables : sequence of (ndarray, ndarray or None), each of shape (n_seeds, n_prompts)
        `codes` of the two orders.
    lengths : sequence of (ndarray, ndarray), each of shape (n_seeds, n_prompts)
        Tokens of the answers of each.
    terms : Terms, optional
        Level and bootstrap.

    Raises
    ------
    ExperimentError
        If a pair has fewer than two prompts with a verdict.
    """
    terms = terms or Terms()
    family = replace(terms, level=terms.level / max(len(names), 1))
    rows = zip(names, tables, lengths, strict=True)
    return tuple(_contrast(*row, terms, family) for row in rows)


def _contrast(
    names: tuple[str, str],
    table: tuple[Floats, Floats | None],
    lengths: tuple[Floats, Floats],
    terms: Terms,
    family: Terms,
) -> JudgedContrast:
    forward, backward = table
    both = _combined(forward, backward)
    counted = ~np.isnan(both)
    with_verdict = counted.any(axis=0)
    n = int(with_verdict.sum())
    if n < 2:
        raise ExperimentError(
            f"{names[0]} and {names[1]}: {n} prompts have a verdict, two or more are wanted; "
            "ask another judge, or let it write more (--judge-tokens)"
        )
    outcome = (both[:, with_verdict] + 1) / 2
    shares = [float(_over_seeds(outcome == value, outcome).mean()) for value in (1.0, 0.5, 0.0)]
    preferred = _over_seeds(outcome, outcome)
    difference = (lengths[0] - lengths[1])[:, with_verdict]
    longer = _over_seeds(np.tanh(difference / (difference.std() or 1.0)), outcome)
    drawn = np.random.default_rng(terms.seed).multinomial(n, np.full(n, 1 / n), terms.n_boot)
    means = drawn @ preferred / n
    level = _at_zero(preferred, longer, drawn.astype(np.float64))
    return JudgedContrast(
        *names,
        n_prompts=n,
        n_seeds=len(both),
        n_failed=int((~counted).sum()),
        win=shares[0],
        tie=shares[1],
        lose=shares[2],
        win_interval=wilson(shares[0] * n, n, terms.level),
        preferred=float(preferred.mean()),
        interval=_percentiles(means, terms.level),
        family_interval=_percentiles(means, family.level),
        at_equal_length=float(_at_zero(preferred, longer, np.ones((1, n)))[0]),
        equal_length_interval=_percentiles(level, terms.level),
        tokens=(float(lengths[0].mean()), float(lengths[1].mean())),
        order=None if backward is None else _order(forward, backward, terms.level),
    )


def _combined(forward: Floats, backward: Floats | None) -> Floats:
    """One outcome per pair: what both orders say, a tie where they differ."""
    if backward is None:
        return forward
    agreed = np.where(forward == backward, forward, 0.0)
    return np.where(np.isnan(forward) | np.isnan(backward), np.nan, agreed)


def _order(forward: Floats, backward: Floats, level: float) -> OrderEffects:
    known = ~(np.isnan(forward) | np.isnan(backward))
    same = int((forward[known] == backward[known]).sum())
    # Ours stands first in the one, theirs in the other.
    for_first = int((forward == 1).sum() + (backward == -1).sum())
    decided = int((np.abs(forward) == 1).sum() + (np.abs(backward) == 1).sum())
    return OrderEffects(
        Share.of(same, int(known.sum()), level), Share.of(for_first, decided, level)
    )


def _over_seeds(values: Floats, outcome: Floats) -> Floats:
    """Mean over the seeds with a verdict, by prompt."""
    known = ~np.isnan(outcome)
    mean: Floats = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean


def _at_zero(outcome: Floats, longer: Floats, weights: Floats) -> Floats:
    """Logistic regression of the outcome on relative length, read where that is 0.

    Parameters
    ----------
    outcome, longer : ndarray of shape (n,)
        From 0 to 1, and from -1 to 1.
    weights : ndarray of shape (m, n)
        Each row another regression.

    Returns
    -------
    ndarray of shape (m,)
    """
    design = np.stack([np.ones_like(longer), longer])
    beta = np.zeros((len(weights), 2))
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(beta @ design, -30, 30)))
        gradient = (weights * (outcome - p)) @ design.T - _RIDGE * beta
        curvature = np.einsum("mn,in,jn->mij", weights * p * (1 - p), design, design)
        curvature += _RIDGE * np.eye(2)
        beta = beta + np.linalg.solve(curvature, gradient[..., None])[..., 0]
    level: Floats = 1 / (1 + np.exp(-beta[:, 0]))
    return level


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, (level / 2, 1 - level / 2))
    return float(low), float(high)
