"""Prompts won, tied and lost, the figure the paper gives.

The paper's abstract says in how many of its prompts one model's answers were judged better than
another's; here a prompt is won where its loss, averaged over seeds, is lower by more than a
stated width. The intervals are over prompts; the seeds are taken as they are.

References
----------
Wilson, E. B. (1927), Journal of the American Statistical Association 22, 209-212.
Efron, B. and Tibshirani, R. J. (1993), An Introduction to the Bootstrap, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.crossed import Floats


@dataclass(frozen=True)
class Wins:
    """Prompts on which one method's loss is lower, about the same, or higher than another's.

    Parameters
    ----------
    win, tie, lose : int
        Numbers of prompts.
    win_share, tie_share, lose_share : float
        The same over all prompts, from 0 to 1.
    win_interval : tuple of float
        Wilson's interval of `win_share`.
    score : float
        The paper's win score, ``(win - lose) / n + 1``: from 0 to 2, above 1 where more prompts
        are won than lost.
    score_interval : tuple of float
        Percentiles over a bootstrap of the prompts.
    tie_width : float
        Losses closer than this were a tie, in nats per token.
    """

    win: int
    tie: int
    lose: int
    win_share: float
    tie_share: float
    lose_share: float
    win_interval: tuple[float, float]
    score: float
    score_interval: tuple[float, float]
    tie_width: float


def count_wins(ours: Floats, theirs: Floats, terms: Terms) -> Wins:
    """Count prompts won, tied and lost.

    Parameters
    ----------
    ours, theirs : ndarray of shape (n_prompts,)
        Mean loss per token of each prompt over the seeds of both, in nats.
    terms : Terms
        Tie width, level and bootstrap.
    """
    difference = ours - theirs
    n = len(difference)
    win = int((difference < -terms.tie).sum())
    lose = int((difference > terms.tie).sum())
    tie = n - win - lose
    return Wins(
        win=win,
        tie=tie,
        lose=lose,
        win_share=win / n,
        tie_share=tie / n,
        lose_share=lose / n,
        win_interval=wilson(win, n, terms.level),
        score=(win - lose) / n + 1.0,
        score_interval=_score_interval((win, tie, lose), terms),
        tie_width=terms.tie,
    )


def wilson(count: float, n: int, level: float = 0.05) -> tuple[float, float]:
    """Interval of a share, which stays between 0 and 1 and has width at both ends.

    Parameters
    ----------
    count, n : float and int
        How many of how many; `n` at least 1. A tie may count as a half.
    level : float
        Share of intervals that may miss the truth.
    """
    from scipy.special import ndtri

    z2 = float(ndtri(level / 2)) ** 2
    centre = (count + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (count * (n - count) / n + z2 / 4)) / (n + z2)
    # At the ends, exactly and not but for rounding.
    low = 0.0 if count == 0 else float(centre - half)
    high = 1.0 if count == n else float(centre + half)
    return low, high


def _score_interval(counts: tuple[int, int, int], terms: Terms) -> tuple[float, float]:
    # Prompts drawn with replacement: how many are won, tied and lost is all the score knows.
    n = sum(counts)
    drawn = np.random.default_rng(terms.seed).multinomial(n, np.array(counts) / n, terms.n_boot)
    scores = (drawn[:, 0] - drawn[:, 2]) / n + 1.0
    low, high = np.quantile(scores, (terms.level / 2, 1 - terms.level / 2))
    return float(low), float(high)
