from __future__ import annotations

import numpy as np
import pytest

from instructmining.rules import stability
from instructmining.rules.choose import choose
from instructmining.rules.regression import MixtureMeans, estimate

from .test_choose import noisy
from .test_refits import counted


def resampled(means: MixtureMeans, method: str, n_draws: int = 400) -> stability.Resampled:
    choice = choose(means, method)
    slopes = estimate(means.only(choice.features), choice.penalty).coefficients[1:]
    counts = stability.bootstrap_counts(len(means), n_draws, 0)
    return stability.resample(
        means, method, dict(zip(choice.features, slopes.tolist(), strict=True)), counts
    )


def test_draws_are_seeded_and_of_as_many_mixtures() -> None:
    counts = stability.bootstrap_counts(30, 200, 1)
    assert (counts.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(counts, stability.bootstrap_counts(30, 200, 1))
    assert (counts != stability.bootstrap_counts(30, 200, 2)).any()
    assert (counts > 0).mean() == pytest.approx(1 - np.exp(-1), abs=0.02)


def test_columns_held_each_draw_is_a_fit_of_its_own() -> None:
    means = noisy(np.random.default_rng(0), 40, [1.0, 0.0, -1.0])
    found = resampled(means, "aicc", 5)
    counts = stability.bootstrap_counts(40, 5, 0)
    for own, drawn in zip(counts, found.draws, strict=True):
        expected = estimate(counted(means.only(("a", "c")), own)).coefficients[1:]
        np.testing.assert_allclose(drawn[[0, 2]], expected)
        assert drawn[1] == 0.0


def test_the_bootstrap_is_as_wide_as_theory_says() -> None:
    means = noisy(np.random.default_rng(0), 150, [0.5, 0.3])
    found = resampled(means, "none", 2000)
    errors = np.sqrt(np.diag(estimate(means).covariance))[1:]
    np.testing.assert_allclose(found.draws.std(axis=0), errors, rtol=0.1)
    np.testing.assert_array_equal(found.draws, found.draws_repeated)
    assert [one.chosen for one in found.spreads] == [1.0, 1.0]


def test_a_repeated_choice_knows_of_columns_that_come_and_go() -> None:
    means = noisy(np.random.default_rng(2), 60, [1.0, 0.25, 0.0])
    found = resampled(means, "aicc")
    strong, weak, none = found.spreads
    assert strong.chosen == 1.0
    assert strong.same_sign == 1.0
    assert 0.2 < weak.chosen < 1.0
    assert none.chosen < 0.6
    assert none.repeated[0] <= 0.0 <= none.repeated[1]
    if "c" not in choose(means, "aicc").features:
        assert none.interval == (0.0, 0.0)


def test_a_draw_of_too_few_mixtures_is_left_out() -> None:
    means = noisy(np.random.default_rng(0), 8, [1.0, 0.5]).without_shares()
    found = resampled(means, "none", 500)
    counts = stability.bootstrap_counts(8, 500, 0)
    assert found.n_left_out == ((counts > 0).sum(axis=1) < 5).sum() > 0
    assert len(found.draws) + found.n_left_out == 500


def test_ridge_is_repeated_with_a_penalty_of_its_own() -> None:
    found = resampled(noisy(np.random.default_rng(0), 40, [0.1, 0.0]), "ridge")
    np.testing.assert_array_equal(found.draws, found.draws_repeated)
    assert all(one.chosen == 1.0 for one in found.spreads)
