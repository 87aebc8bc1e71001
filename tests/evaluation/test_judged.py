from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import ExperimentError
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.judged import codes, judge_quality, judged_contrasts
from instructmining.evaluation.judges.base import Judgement
from instructmining.evaluation.wins import wilson

NAN = float("nan")


def contrast_of(forward, backward, ours=None, theirs=None, **changes):
    forward = np.atleast_2d(np.array(forward, dtype=float))
    backward = None if backward is None else np.atleast_2d(np.array(backward, dtype=float))
    same = np.full(forward.shape, 50.0)
    lengths = (same if ours is None else ours, same if theirs is None else theirs)
    (found,) = judged_contrasts([("a", "b")], [(forward, backward)], [lengths], Terms(**changes))
    return found


def drawn(rng, n_prompts, preferred, bias=0.0, n_seeds=1):
    """Verdicts of a judge who prefers ours with some probability, else theirs, or the first."""
    truth = np.where(rng.random((n_seeds, n_prompts)) < preferred, 1.0, -1.0)
    swayed = rng.random((n_seeds, n_prompts)) < bias
    return np.where(swayed, 1.0, truth), np.where(swayed, -1.0, truth)


def test_verdicts_become_numbers_from_our_side():
    said = [Judgement(v) for v in ("first", "second", "tie", None)] + [None]
    assert np.array_equal(codes(said), [1, -1, 0, NAN, NAN], equal_nan=True)
    assert np.array_equal(codes(said, swapped=True), [-1, 1, 0, NAN, NAN], equal_nan=True)


def test_a_pair_is_won_where_both_orders_say_so():
    #                    won  lost tie  swayed, tie and win, failed
    found = contrast_of([1.0, -1, 0, 1, 0, NAN], [1.0, -1, 0, -1, 1, 1])
    assert (found.win, found.tie, found.lose) == pytest.approx((0.2, 0.6, 0.2))
    assert found.preferred == pytest.approx(0.5)
    assert found.n_prompts == 5
    assert found.n_failed == 1
    assert found.order.consistent.value == pytest.approx(3 / 5)
    # For the first: won, swayed twice; lost when swapped; the failed one's other order.
    assert found.order.first.value == pytest.approx(4 / 8)


def test_a_judge_who_sees_no_order_is_taken_at_its_word():
    found = contrast_of([1.0, 1, -1, 0], None)
    assert (found.win, found.tie, found.lose) == (0.5, 0.25, 0.25)
    assert found.order is None


def test_a_judge_who_always_takes_the_first_decides_nothing():
    found = contrast_of([1.0] * 40, [-1.0] * 40)
    assert found.tie == 1
    assert found.order.consistent.value == 0
    assert found.order.first.value == 1
    assert found.conclusion == "no preference shown"


def test_seeds_are_averaged_within_prompts():
    found = contrast_of([[1, 1, 1, NAN], [-1, 1, NAN, NAN]], None)
    # Three prompts with a verdict: one even, two won.
    assert found.n_prompts == 3
    assert found.preferred == pytest.approx((0.5 + 1 + 1) / 3)
    assert found.n_failed == 3


def test_intervals_cover_and_a_null_is_seldom_a_preference():
    rng = np.random.default_rng(0)
    covered = claimed = 0
    for _ in range(300):
        found = contrast_of(*drawn(rng, 80, 0.5), n_boot=400)
        covered += found.interval[0] <= 0.5 <= found.interval[1]
        claimed += found.conclusion != "no preference shown"
    assert covered >= 272
    assert claimed <= 25


def test_a_family_makes_each_claim_harder():
    forward = backward = np.array([[1.0] * 61 + [-1.0] * 39])
    lengths = (np.full((1, 100), 5.0),) * 2
    (alone,) = judged_contrasts([("a", "b")], [(forward, backward)], [lengths])
    many = judged_contrasts(
        [("a", str(i)) for i in range(20)], [(forward, backward)] * 20, [lengths] * 20
    )
    assert alone.conclusion == "preferred"
    assert {one.conclusion for one in many} == {"no preference shown"}
    assert many[0].interval == alone.interval


def test_a_preference_for_length_vanishes_at_equal_length():
    rng = np.random.default_rng(2)
    ours, theirs = rng.integers(20, 90, (1, 400)) * 1.0, rng.integers(10, 60, (1, 400)) * 1.0
    verdict = np.sign(ours - theirs)
    found = contrast_of(verdict, verdict, ours, theirs)
    assert found.preferred > 0.7
    assert found.equal_length_interval[0] < 0.5 < found.equal_length_interval[1]
    assert found.tokens == pytest.approx((ours.mean(), theirs.mean()))


def test_a_preference_that_has_nothing_to_do_with_length_stays():
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(20, 90, (1, 400)) * 1.0, rng.integers(10, 60, (1, 400)) * 1.0
    found = contrast_of(*drawn(rng, 400, 0.7), ours, theirs)
    assert found.at_equal_length == pytest.approx(0.7, abs=0.08)
    assert found.equal_length_interval[0] > 0.5


def test_all_won_is_finite():
    found = contrast_of([1.0] * 12, [1.0] * 12)
    assert found.preferred == 1
    assert 0.9 < found.at_equal_length < 1
    assert found.win_interval == wilson(12, 12)


def test_a_pair_without_verdicts_is_refused():
    with pytest.raises(ExperimentError, match="1 prompts have a verdict"):
        contrast_of([NAN, 1.0], None)


def test_a_judge_is_held_against_people():
    forward = np.array([1.0] * 7 + [-1.0] * 2 + [NAN])
    quality = judge_quality(forward, forward, np.array([1.0] * 5 + [-1.0] * 5))
    assert quality.agreement.value == pytest.approx(7 / 9)
    assert quality.agreement.interval == wilson(7, 9)
    assert (quality.n, quality.n_failed) == (10, 1)
    assert quality.longer.value == 0.5
    assert quality.trusted


def test_a_judge_who_tosses_a_coin_is_not_trusted():
    rng = np.random.default_rng(4)
    quality = judge_quality(*(np.sign(rng.normal(size=(2, 500)))), np.ones(500))
    assert quality.agreement.value == pytest.approx(0.5, abs=0.05)
    assert quality.order.consistent.value == pytest.approx(0.5, abs=0.08)
    assert not quality.trusted


def test_a_judge_without_verdicts_is_not_trusted():
    quality = judge_quality(np.full(5, NAN), np.full(5, NAN), np.ones(5))
    assert quality.agreement.value is None
    assert not quality.trusted
