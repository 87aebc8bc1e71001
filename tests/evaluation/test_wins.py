from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.wins import count_wins, wilson


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize(("count", "n"), [(0, 7), (7, 7), (34, 80), (1, 1), (50, 96)])
def test_wilson_is_that_of_statsmodels(count: int, n: int, level: float) -> None:
    expected = proportion_confint(count, n, alpha=level, method="wilson")
    assert wilson(count, n, level) == pytest.approx(expected, abs=1e-12)


def test_the_papers_figure() -> None:
    # 34 won, 19 tied and 27 lost of 80 are the counts its 42.5 % and 1.088 go back to.
    difference = np.repeat([-0.1, 0.0, 0.1], [34, 19, 27])
    wins = count_wins(2.0 + difference, np.full(80, 2.0), Terms())
    assert (wins.win, wins.tie, wins.lose) == (34, 19, 27)
    assert wins.win_share == 0.425
    assert wins.win_share + wins.tie_share + wins.lose_share == pytest.approx(1.0)
    assert wins.score == pytest.approx(1.0875)
    low, high = wins.score_interval
    # Normal theory: the variance of a score of -1, 0 or 1.
    deviation = np.sqrt((61 / 80 - 0.0875**2) / 80)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.06)
    assert low < 1.0 < high  # what the abstract does not say


def test_a_tie_is_as_wide_as_stated() -> None:
    theirs = np.zeros(5) + 2.0
    ours = theirs + np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
    wins = count_wins(ours, theirs, Terms(tie=0.25))
    assert (wins.win, wins.tie, wins.lose, wins.tie_width) == (1, 3, 1, 0.25)
    exact = count_wins(ours, theirs, Terms(tie=0.0))
    assert (exact.win, exact.tie, exact.lose) == (2, 1, 2)


def test_ties_only() -> None:
    wins = count_wins(np.ones(9), np.ones(9), Terms())
    assert wins.score_interval == (1.0, 1.0)
    assert wins.win_interval[0] == 0.0
    assert wins.win_interval[1] > 0.2


def test_exchanging_the_two_exchanges_wins_and_losses() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 50))
    one, other = count_wins(ours, theirs, Terms()), count_wins(theirs, ours, Terms())
    assert (one.win, one.tie, one.lose) == (other.lose, other.tie, other.win)
    assert one.score - 1 == pytest.approx(1 - other.score)


def test_score_intervals_cover() -> None:
    rng, terms = np.random.default_rng(1), Terms(n_boot=400)
    shares = np.array([0.45, 0.2, 0.35])
    covered = 0
    for _ in range(500):
        difference = rng.choice([-1.0, 0.0, 1.0], size=96, p=shares)
        low, high = count_wins(difference, np.zeros(96), terms).score_interval
        covered += low <= 1.1 <= high
    assert covered / 500 == pytest.approx(0.95, abs=0.03)
