"""Agreement with people: against scipy, by hand, and intervals that hold what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from instructmining.errors import InputError
from instructmining.heads.measure import (
    Interval,
    pair_accuracy,
    paired_gain,
    same_length,
    spearman,
    spearman_gain,
)
from pace import processor_seconds


def bounds(interval):
    return interval.low, interval.high


def is_undefined(interval):
    return math.isnan(interval.low) and math.isnan(interval.high)


def clustered(rng, n_groups, size, correlation):
    """Normal values with a part common to each group, and the group of each."""
    common = np.repeat(rng.normal(size=n_groups), size)
    own = rng.normal(size=n_groups * size)
    groups = np.repeat(np.arange(n_groups), size).tolist()
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own, groups


# Pairs


def test_accuracy_by_hand():
    # Three right, one tie, one wrong: 3.5 of 5.
    result = pair_accuracy([0.1, 2.0, np.inf, 0.0, -3.0], list("aabbc"))

    assert result.value == pytest.approx(0.7)
    assert 0.0 <= result.low <= 0.7 <= result.high <= 1.0


def test_the_draws_of_two_groups_are_known():
    # Both, or one of them twice with probability 1/4 each: the percentiles are the groups'.
    result = pair_accuracy([1, 1, -1, 1, 0], list("aaabb"))

    assert result == Interval(value=3.5 / 5, low=2 / 3, high=0.75)


def test_gain_is_the_difference_on_the_same_draws():
    rng = np.random.default_rng(1)
    margin, groups = clustered(rng, 80, 3, 0.5)
    baseline = margin + 0.1 * rng.normal(size=240)

    gain = paired_gain(margin + 0.3, baseline, groups)
    ours, theirs = pair_accuracy(margin + 0.3, groups), pair_accuracy(baseline, groups)

    assert gain.value == pytest.approx(ours.value - theirs.value)
    # Two nearly equal scores differ by much less than each of them varies.
    assert gain.high - gain.low < 0.7 * (ours.high - ours.low)
    assert bounds(paired_gain(margin, margin, groups)) == (0.0, 0.0)
    back = paired_gain(baseline, margin + 0.3, groups)
    assert (-back.high, -back.low) == pytest.approx(bounds(gain))


# Rank correlation


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_spearman_is_scipys(levels):
    rng = np.random.default_rng(levels)
    scores, judged = rng.normal(size=300), rng.integers(levels, size=300)

    for x in (scores, judged + np.round(scores), -judged * 1e9):
        assert spearman(x, judged, range(300)).value == pytest.approx(
            spearmanr(x, judged).statistic, abs=1e-12
        )


def test_bounds_are_quantiles_of_all_possible_draws():
    rng = np.random.default_rng(3)
    x, y = rng.integers(5, size=30), rng.integers(4, size=30)
    groups = np.repeat([7, 2, 5], [5, 10, 15])
    rows = [np.flatnonzero(groups == g) for g in (7, 2, 5)]
    # 27 draws of three groups, each by scipy on rows written out.
    every = []
    for draw in itertools.product(rows, repeat=3):
        drawn = np.concatenate(draw)
        every.append(spearmanr(x[drawn], y[drawn]).statistic)

    result = spearman(x, y, groups.tolist(), n_boot=20_000)

    # Each group three times is 1 of 27 draws, more than the 2.5 % beyond a bound.
    assert bounds(result) == pytest.approx((min(every), max(every)), abs=1e-12)


def test_bounds_agree_with_a_plain_bootstrap():
    rng = np.random.default_rng(4)
    x, groups = clustered(rng, 60, 4, 0.6)
    y = np.round(x + rng.normal(size=240))
    members = np.arange(240).reshape(60, 4)
    plain = []
    for _ in range(1000):
        drawn = members[rng.integers(60, size=60)].ravel()
        plain.append(spearmanr(x[drawn], y[drawn]).statistic)

    assert bounds(spearman(x, y, groups)) == pytest.approx(
        tuple(np.percentile(plain, [2.5, 97.5])), abs=0.02
    )


def test_only_order_counts_and_groups_of_any_name():
    rng = np.random.default_rng(5)
    x, groups = clustered(rng, 40, 3, 0.3)
    y = x + rng.normal(size=120)

    wanted = spearman(x, y, groups)
    assert spearman(np.exp(x), 3 * y + 1, [("prompt", g) for g in groups]) == wanted
    assert spearman(x, y, groups, seed=1) != wanted
    negative = spearman(-x, y, groups)
    assert (-negative.high, -negative.low) == pytest.approx(bounds(wanted))


def test_spearman_gain_is_paired():
    rng = np.random.default_rng(6)
    judged, groups = clustered(rng, 100, 3, 0.3)
    scores = judged + rng.normal(size=300)
    worse = scores + 0.4 * rng.normal(size=300)

    gain = spearman_gain(scores, worse, judged, groups)
    ours, theirs = spearman(scores, judged, groups), spearman(worse, judged, groups)

    assert gain.value == pytest.approx(ours.value - theirs.value)
    assert gain.high - gain.low < ours.high - ours.low
    assert bounds(spearman_gain(scores, scores, judged, groups)) == (0.0, 0.0)


def test_draws_without_variation_are_left_out():
    # Only the first group varies; without it (1 draw of 4) there is no correlation.
    result = spearman([1, 2, 3, 3], [1, 2, 2, 2], list("aabb"))

    assert result.value == pytest.approx(spearmanr([1, 2, 3, 3], [1, 2, 2, 2]).statistic)
    assert result.high == pytest.approx(1.0)
    assert not math.isnan(result.low)


# Undefined


def test_what_is_undefined_is_nan():
    for nothing in (pair_accuracy([], []), spearman([], [], [])):
        assert math.isnan(nothing.value)
        assert is_undefined(nothing)
    constant = spearman([1, 1, 1], [1, 2, 3], list("abc"))
    assert math.isnan(constant.value)
    assert is_undefined(constant)
    # One group tells nothing about others.
    alone = pair_accuracy([1, 1, -1, 1], list("aaaa"))
    assert alone.value == 0.75
    assert is_undefined(alone)


def test_missing_scores_and_other_lengths_are_refused():
    with pytest.raises(InputError, match="margin is NaN in 1 of 3 rows"):
        pair_accuracy([1, np.nan, 2], list("abc"))
    with pytest.raises(InputError, match="baseline_margin is NaN"):
        paired_gain([1, 2], [1, np.nan], list("ab"))
    with pytest.raises(InputError, match=r"judgements of shape \(2,\) came.*3 groups"):
        spearman([1, 2, 3], [1, 2], list("abc"))
    with pytest.raises(InputError, match=r"scores of shape \(3, 1\)"):
        spearman([[1], [2], [3]], [1, 2, 3], list("abc"))


# What an interval promises


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(7)
    n = 200
    accuracy = math.erf(0.5 / math.sqrt(2)) / 2 + 0.5
    rank_correlation = 6 / math.pi * math.asin(math.sqrt(0.5) / 2)
    held = np.zeros(2)
    for _ in range(n):
        x, groups = clustered(rng, 80, 3, 0.7)
        y = x + clustered(rng, 80, 3, 0.7)[0]
        a = pair_accuracy(x + 0.5, groups, n_boot=300)
        s = spearman(x, y, groups, n_boot=300)
        held += [a.low <= accuracy <= a.high, s.low <= rank_correlation <= s.high]

    # 95 % of 200, give or take three standard errors and what a bootstrap of 80 groups lacks.
    assert (held >= 0.89 * n).all()
    assert (held <= 0.995 * n).all()


def test_copies_in_a_group_are_no_new_evidence():
    rng = np.random.default_rng(8)
    x = rng.normal(size=100)
    y = x + rng.normal(size=100)
    groups = np.arange(100)
    copied = [np.tile(values, 10) for values in (x, y)]

    for measure in (lambda a, b, g: pair_accuracy(a + 0.5, g), spearman):
        once = bounds(measure(x, y, groups.tolist()))
        assert bounds(measure(*copied, np.tile(groups, 10).tolist())) == pytest.approx(
            once, abs=0.02
        )
        low, high = bounds(measure(*copied, range(1000)))
        assert high - low < 0.5 * (once[1] - once[0])


def test_two_thousand_draws_of_three_thousand_rows_are_quick():
    rng = np.random.default_rng(9)
    x, groups = clustered(rng, 1000, 3, 0.5)
    y = np.round(x + rng.normal(size=3000))
    other = rng.normal(size=3000)
    assert processor_seconds(lambda: spearman_gain(x, other, y, groups)) < 5.0


ranks = st.integers(-3, 3)


@given(st.lists(st.tuples(ranks, ranks, ranks, st.integers(0, 4)), max_size=20))
def test_any_rows(rows):
    x, b, y, groups = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4

    measures = {
        (0.0, 1.0): pair_accuracy(x, groups, n_boot=50),
        (-1.0, 1.0): paired_gain(x, b, groups, n_boot=50),
        (-1.0 - 1e-12, 1.0 + 1e-12): spearman(x, y, groups, n_boot=50),
        (-2.0 - 1e-12, 2.0 + 1e-12): spearman_gain(x, b, y, groups, n_boot=50),
    }

    for (least, most), interval in measures.items():
        if math.isnan(interval.value):
            assert is_undefined(interval)
        else:
            assert least <= interval.value <= most
            assert is_undefined(interval) or least <= interval.low <= interval.high <= most


# Length


def test_same_length():
    mask = same_length([100, 100, 81, 80, 100, 0, 0], [100, 81, 100, 100, 126, 0, 1])

    assert mask.dtype == bool
    assert mask.tolist() == [True, True, True, False, False, True, False]
    assert same_length([10], [14], tolerance=0.3).tolist() == [True]
