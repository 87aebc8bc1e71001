from __future__ import annotations

import numpy as np
import pytest

from evaluation.simulated import World
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.sizes import RelativeLosses, relative_losses, size_curve

SIZES = (32, 64, 128, 256, 512)


def pooled(table: np.ndarray) -> RelativeLosses:
    return RelativeLosses(table, table)


def curve_of(
    effects: dict[int, float], n_seeds: int = 3, seed: int = 0, world: World | None = None
):
    """The curve of simulated losses; effects are true log losses by size."""
    world = world or World()
    rng = np.random.default_rng(seed)
    named = {str(size): effect for size, effect in effects.items()}
    drawn, tokens = world.draw_losses(rng, n_seeds, {**named, "untuned": 0.0})
    untuned = drawn["untuned"][0]
    losses = {size: relative_losses([drawn[str(size)]], [untuned], [tokens]) for size in effects}
    return size_curve(losses, relative_losses([untuned[None]], [untuned], [tokens]))


def test_sets_count_alike_whatever_their_length():
    untuned = [np.array([2.0, 2.0]), np.array([300.0, 100.0, 100.0])]
    tuned = [np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[300.0, 100.0, 100.0]] * 2)]
    tokens = [np.array([1.0, 4.0]), np.array([100.0, 50.0, 10.0])]
    found = relative_losses(tuned, untuned, tokens)
    # Half the loss on one set, the same on the other.
    assert found.by_token.sum(axis=1) == pytest.approx([0.75, 1.0])
    assert found.mean == pytest.approx(0.875)
    # By example: (1/1 + 1/4) over (2/1 + 2/4) is half as well.
    assert found.by_example.sum(axis=1) == pytest.approx([0.75, 1.0])
    untuned[0] = np.array([1.0, 3.0])
    by_example = relative_losses(tuned, untuned, tokens).by_example.sum(axis=1)
    assert by_example[0] == pytest.approx(((1 + 0.25) / (1 + 0.75) + 1) / 2)


def test_the_best_size_is_found_and_smaller_ones_within_its_error():
    curve = curve_of(dict(zip(SIZES, (0.06, 0.03, 0.0005, 0.0, 0.03), strict=True)))
    points = {point.size: point for point in curve.points}
    assert [point.size for point in curve.points] == list(SIZES)
    assert curve.best in (128, 256)
    assert curve.frugal == 128
    assert curve.largest == 512
    assert points[curve.best].above == 0
    low, high = points[32].above_interval
    assert low < np.expm1(0.06) < high
    assert low > 0


def test_intervals_hold_the_truth():
    hits = 0
    for seed in range(200):
        curve = curve_of({32: 0.02, 64: -0.04}, seed=seed)
        low, high = next(point.above_interval for point in curve.points if point.size == 32)
        hits += low <= np.expm1(0.06) <= high
    assert hits >= 182  # 95 % of 200, less two standard deviations and a little


def test_a_rise_and_a_fall_are_seen_and_the_highest_is_told():
    curve = curve_of(dict(zip(SIZES, (0.0, 0.06, 0.01, 0.03, 0.0), strict=True)))
    assert (curve.bump.before, curve.bump.top) == (32, 64)
    assert curve.bump.rise > 0.03
    assert curve.bump.fall > 0.03


@pytest.mark.parametrize(
    "effects",
    [(0.06, 0.04, 0.02, 0.01, 0.0), (0.06, 0.02, 0.0, 0.02, 0.06)],
    ids=["falls", "valley"],
)
def test_a_loss_that_only_falls_or_turns_once_has_no_bump(effects):
    assert curve_of(dict(zip(SIZES, effects, strict=True))).bump is None


def test_a_flat_curve_is_seldom_called_bumpy():
    called = sum(
        curve_of(dict.fromkeys(SIZES, 0.0), seed=seed).bump is not None for seed in range(300)
    )
    assert called <= 15


def test_with_one_seed_nothing_is_said_of_noise():
    curve = curve_of(dict(zip(SIZES, (0.0, 0.2, 0.0, 0.2, 0.1), strict=True)), n_seeds=1)
    assert curve.bump is None
    assert {point.interval for point in curve.points} == {None}
    assert {point.above_error for point in curve.points} == {None}
    assert curve.frugal == curve.best


def test_the_other_weighting_has_its_own_best_size():
    table = np.ones((2, 4)) / 4
    losses = {
        10: RelativeLosses(table, table * 1.1),
        20: RelativeLosses(table * 1.1, table),
    }
    curve = size_curve(losses, pooled(table[:1]), Terms())
    assert (curve.best, curve.best_by_example) == (10, 20)
