from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from evaluation.simulated import World
from instructmining.evaluation.crossed import LogRatio, log_ratio, mean_squares, stack

#: Token counts like those of a real set: the longest tenth has most of the tokens.
LONG_TAILED = (3.7, 1.2)


def misses(found: LogRatio, truth: float = 0.0, level: float = 0.05) -> float:
    return float((np.abs(found.value - truth) > found.half_width(level)).mean())


def drawn(world: World, n_seeds: int, n: int = 3000, *, by_example: bool = False) -> LogRatio:
    rng = np.random.default_rng(n_seeds)
    losses, tokens = world.draw_losses(rng, n_seeds, {"rule": -0.01, "random": 0.0}, n)
    per = tokens[:, None] if by_example else 1.0
    return log_ratio(losses["rule"] / per, losses["random"] / per)


def test_mean_squares_worked_by_hand() -> None:
    # Mean 3.5; seeds 2 and 5, prompts 2, 3 and 5.5; left ±(0.5, 0.5, -1).
    found = mean_squares(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]]))
    assert found.seeds == pytest.approx(3 * 2 * 1.5**2)
    assert found.prompts == pytest.approx(2 * (1.5**2 + 0.5**2 + 2.0**2) / 2)
    assert found.interaction == pytest.approx(2 * (0.25 + 0.25 + 1.0) / 2)


def test_log_ratio_worked_by_hand() -> None:
    # Shares 3/4, 1/4 over 1/2, 1/2; so the prompts have 5/8 and 3/8 of the totals.
    found = log_ratio(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([[2.0, 2.0], [2.0, 2.0]]))
    cells = (2 * 0.25 / (3 / 8), -2 * 0.25 / (5 / 8))
    assert found.value == 0.0
    assert found.seed_variance == 0.0
    assert found.prompt_variance == pytest.approx(2 * (cells[0] - cells[1]) ** 2 / 2 / 4)
    assert found.seed_freedom == 1.0
    assert found.prompt_freedom == 1.0  # 1 / (25/64 + 9/64) is 1.88 prompts
    half = t.ppf(0.975, 1) * np.sqrt(found.prompt_variance)
    assert found.half_width(0.05) == pytest.approx(half)


def test_both_parts_have_a_quantile_of_their_own() -> None:
    found = drawn(World(), 3, 1)
    squared = (
        t.ppf(0.975, 2) ** 2 * found.seed_variance
        + t.ppf(0.975, found.prompt_freedom) ** 2 * found.prompt_variance
    )
    np.testing.assert_allclose(found.half_width(0.05), np.sqrt(squared))


def test_the_variance_of_prompts_is_that_of_leaving_each_out() -> None:
    losses, _ = World(tokens=LONG_TAILED).draw_losses(
        np.random.default_rng(0), 1, {"rule": 0.0, "random": 0.0}
    )
    ours, theirs = losses["rule"][0], losses["random"][0]
    without = np.log((ours.sum() - ours) / (theirs.sum() - theirs))
    jackknife = (len(without) - 1) / len(without) * ((without - without.mean()) ** 2).sum()
    found = log_ratio(losses["rule"], losses["random"])
    # The cells stand for n times the changes, not n - 1 times.
    assert found.prompt_variance == pytest.approx(jackknife, rel=0.03)


def test_components_are_unbiased() -> None:
    world = World(seeds=0.004, draw=0.0, interaction=0.02, tokens=(4.0, 0.01))
    found = drawn(world, 4, by_example=True)
    between, interaction = 2 * 0.004**2 / 4, 2 * 0.02**2 / (4 * 96)
    assert found.seed_variance.mean() == pytest.approx(between + interaction, rel=0.05)
    # A lognormal base loss concentrates the mean; 1 + 0.3² is its Kish factor.
    prompts = 2 * world.prompts**2 / 96 * np.exp(0.3**2)
    assert found.prompt_variance.mean() == pytest.approx(prompts, rel=0.08)
    total = (found.seed_variance + found.prompt_variance).mean()
    assert found.value.var() == pytest.approx(total, rel=0.08)


def test_level_of_a_distance_gives_that_distance_back() -> None:
    found = drawn(World(), 3, 50)
    for level in (0.7, 0.05, 1e-4):
        np.testing.assert_allclose(found.level_of(found.half_width(level)), level, rtol=1e-6)
    np.testing.assert_array_equal(found.level_of(np.full(50, -1.0)), 1.0)
    np.testing.assert_allclose(found.level_of(np.full(50, 1e9)), 1e-12)


def test_no_difference_at_all_has_no_width() -> None:
    table = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 4.0]])
    found = log_ratio(table, table)
    assert found.half_width(0.05) == 0.0
    assert found.level_of(np.abs(found.value)) == 1.0
    # The same relative difference on every prompt and with every seed is certain.
    found = log_ratio(1.5 * table, table)
    assert found.value == pytest.approx(np.log(1.5))
    assert found.half_width(0.05) == pytest.approx(0.0, abs=1e-12)


def test_one_seed_has_no_interval() -> None:
    found = log_ratio(np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 3.0, 3.0]]))
    assert found.prompt_variance > 0
    assert np.isnan(found.seed_variance)
    assert np.isnan(found.half_width(0.05))
    assert np.isnan(found.level_of(np.array(1.0)))


def test_one_prompt_that_is_everything_shows_nothing() -> None:
    ours = np.array([[1e9, 1.0, 1.0], [1e9, 1.0, 1.0]])
    theirs = np.array([[1.1e9, 2.0, 1.0], [1.1e9, 1.0, 2.0]])
    found = log_ratio(ours, theirs)
    assert found.prompt_freedom == 1.0
    assert found.half_width(0.05) > abs(found.value)
    # Literally everything: finite all the same.
    alone = log_ratio(np.array([[1.0, 0.0]] * 2), np.array([[2.0, 0.0]] * 2))
    assert np.isfinite(alone.half_width(0.05))


def test_what_a_seed_does_to_every_method_cancels() -> None:
    # Relative effects of the same size in both: hundred times larger, the same differences.
    small = World(shared=0.0).draw_losses(np.random.default_rng(1), 3, {"rule": 0, "random": 0})
    common = np.array([[0.9], [1.0], [1.1]])
    plain = log_ratio(small[0]["rule"], small[0]["random"])
    shaken = log_ratio(common * small[0]["rule"], common * small[0]["random"])
    assert shaken.seed_variance < 1.5 * plain.seed_variance
    alone = log_ratio(common * small[0]["rule"], small[0]["random"])
    assert alone.seed_variance > 100 * plain.seed_variance


def test_order_of_prompts_and_seeds_and_scale_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    losses, _ = World().draw_losses(rng, 3, {"rule": 0.0, "random": 0.0})
    found = log_ratio(losses["rule"], losses["random"])
    prompts, seeds = rng.permutation(96), rng.permutation(3)
    again = log_ratio(
        7 * losses["rule"][seeds][:, prompts], 7 * losses["random"][seeds][:, prompts]
    )
    both = stack([found, again])
    np.testing.assert_allclose(both.value[0], both.value[1], atol=1e-14)
    np.testing.assert_allclose(both.half_width(0.05)[0], both.half_width(0.05)[1])
    # Exchanging the two changes the sign and nothing else.
    other = log_ratio(losses["random"], losses["rule"])
    assert other.value == pytest.approx(-found.value)
    assert other.half_width(0.05) == pytest.approx(float(found.half_width(0.05)))


@pytest.mark.parametrize("by_example", [False, True])
@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(tokens=LONG_TAILED),
        World(tail=3.0),
        World(seeds=0.004),
        World(seeds=0.003, prompts=0.003, interaction=0.003),
        World(seeds=0.0, draw=0.0, prompts=0.0, interaction=0.02),
    ],
    ids=["pilot", "long references", "heavy tails", "seeds", "seeds only", "interaction only"],
)
def test_intervals_cover_as_often_as_they_promise(
    world: World, n_seeds: int, by_example: bool
) -> None:
    found = drawn(world, n_seeds, by_example=by_example)
    # 0.012 is three standard errors of the share in 3,000 draws.
    assert misses(found, truth=-0.01) <= 0.05 + 0.012
    assert misses(found, truth=-0.01, level=0.01) <= 0.01 + 0.006


@pytest.mark.parametrize("by_example", [False, True])
def test_with_five_seeds_intervals_are_hardly_wider_than_needed(by_example: bool) -> None:
    assert misses(drawn(World(), 5, by_example=by_example), truth=-0.01) >= 0.03
