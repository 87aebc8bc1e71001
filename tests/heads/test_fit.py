"""Heads find a direction that pairs follow, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import InputError
from instructmining.heads.fit import Design, Pairs, fit_head
from instructmining.heads.measure import pair_accuracy

LAYERS = (2, 4)
WIDTH = 6


def simulated(n=600, *, signal=2.0, seed=0, n_groups=200):
    """Pairs whose better response lies `signal` further along a direction, and that direction."""
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(len(LAYERS) * WIDTH)
    direction /= np.linalg.norm(direction)
    scale = np.geomspace(0.1, 30, len(direction))
    states = rng.standard_normal((2 * n, len(direction)))
    states[:n] += signal * direction
    places = np.arange(n)
    pairs = Pairs(places, places + n, rng.integers(0, n_groups, n))
    return (states * scale + 5).astype(np.float32), pairs, direction / scale


def score(head, states):
    return head.score(dict(zip(LAYERS, np.split(states, len(LAYERS), axis=1), strict=True)))


def test_the_direction_is_found_whatever_the_scale_of_a_dimension():
    states, pairs, direction = simulated(n=3_000)
    fresh, others, _ = simulated(n=3_000, seed=0)

    head = fit_head("rew", Design(states, pairs, LAYERS)).head

    found, wanted = score(head, fresh), fresh @ direction
    assert np.corrcoef(found, wanted)[0, 1] > 0.98
    assert (found[others.better] > found[others.worse]).mean() > 0.85
    assert head.column == "rew"
    assert head.weight.shape == (len(LAYERS), WIDTH)
    assert head.weight.dtype == np.float32


def test_scores_are_nought_on_average_over_what_was_trained_on():
    states, pairs, _ = simulated()
    found = score(fit_head("rew", Design(states, pairs, LAYERS)).head, states)
    assert abs(found.mean()) < 1e-4
    assert found.std() > 0.3


def test_without_a_signal_cross_validation_finds_none():
    states, pairs, _ = simulated(signal=0.0)

    fitted = fit_head("rew", Design(states, pairs, LAYERS))

    found = pair_accuracy(fitted.margins, pairs.groups.tolist())
    assert found.low < 0.5 < found.high


def test_margins_are_those_of_heads_that_did_not_see_the_group():
    # Every group has its own direction: only a head that saw the group can be right.
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 8)
    directions = rng.standard_normal((50, len(LAYERS) * WIDTH * 4))
    n = len(groups)
    states = rng.standard_normal((2 * n, directions.shape[1])) * 0.1
    states[:n] += directions[groups]
    pairs = Pairs(np.arange(n), np.arange(n) + n, groups)

    fitted = fit_head("rew", Design(states.astype(np.float32), pairs, LAYERS), penalties=(1.0,))

    own = score_of(fitted.head, states)
    assert ((own[:n] - own[n:]) > 0).mean() > 0.9
    assert (fitted.margins > 0).mean() < 0.75


def score_of(head, states):
    return states @ head.weight.ravel().astype(np.float64) + head.bias


def test_what_a_nuisance_explains_is_no_part_of_the_score():
    rng = np.random.default_rng(2)
    n = 2_000
    length = rng.standard_normal(2 * n)
    states = rng.standard_normal((2 * n, len(LAYERS) * WIDTH))
    states[:, 0] += 3 * length  # a dimension that knows the length
    chance = 1 / (1 + np.exp(-3 * (length[:n] - length[n:])))
    right = rng.random(n) < chance
    first, second = np.arange(n), np.arange(n) + n
    pairs = Pairs(np.where(right, first, second), np.where(right, second, first), np.arange(n))
    states = states.astype(np.float32)

    naive = Design(states, pairs, LAYERS).head("rew", 100.0)
    nuisance = length[:, None]
    free = Design(states, pairs, LAYERS, nuisance=nuisance).head("rew", 100.0)

    assert naive.weight[0, 0] > 0.3
    assert abs(free.weight[0, 0]) < 0.2 * naive.weight[0, 0]


def test_a_strong_penalty_is_chosen_for_noise_and_a_weak_one_for_a_clear_signal():
    noise, pairs, _ = simulated(signal=0.0)
    clear, same, _ = simulated(signal=3.0)

    strong, weak = (
        fit_head("rew", Design(*given, LAYERS)).penalty for given in ((noise, pairs), (clear, same))
    )

    assert strong > weak


def test_too_few_instructions_are_refused():
    states, pairs, _ = simulated(n=60, n_groups=5)
    with pytest.raises(InputError, match=r"rew: 5 different instructions .* at least 10"):
        fit_head("rew", Design(states, pairs, LAYERS))


def test_a_fit_is_repeated_to_the_bit():
    states, pairs, _ = simulated()
    one, two = (fit_head("rew", Design(states, pairs, LAYERS)).head for _ in range(2))
    assert one.hash == two.hash


def test_pairs_count_as_often_as_their_weights_say():
    states, pairs, _ = simulated(n=100, n_groups=100)
    twice = np.arange(100) < 50
    again = Pairs(*(np.concatenate([part, part[:50]]) for part in vars(pairs).values()))

    # Turned round or not, a pair says the same: only rounding differs.
    weighted = Design(states, pairs, LAYERS, weights=1.0 + twice).head("rew", 10.0)
    repeated = Design(states, again, LAYERS).head("rew", 10.0)

    largest = np.abs(weighted.weight).max()
    np.testing.assert_allclose(weighted.weight, repeated.weight, rtol=0.02, atol=0.002 * largest)
