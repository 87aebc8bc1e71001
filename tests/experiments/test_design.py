from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm

from experiments.test_tilting import scored
from instructmining.errors import ExperimentError
from instructmining.experiments.design import (
    Criterion,
    choose,
    design_mixtures,
    nuisance_terms,
    precision,
)
from instructmining.experiments.tilting import Candidates, draw_candidates


def random_candidates(n: int, seed: int = 0) -> Candidates:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(3), size=n)
    shares[random.random((n, 3)) < 0.3] = 0.0
    shares[shares.sum(axis=1) == 0, 0] = 1.0
    shares /= shares.sum(axis=1, keepdims=True)
    places = tuple(np.array([i]) for i in range(n))
    return Candidates(random.normal(size=(n, 2)), shares, places, ("",) * n)


def information(candidates: Candidates, places: list[int]) -> float:
    """Log determinant of the information on the features, shares projected out, by hand."""
    terms = nuisance_terms(candidates.shares[places])
    x = candidates.x[places]
    rest = x - terms @ np.linalg.lstsq(terms, x, rcond=None)[0]
    return float(np.linalg.slogdet(rest.T @ rest)[1])


def test_gains_are_differences_of_the_criterion():
    candidates = random_candidates(30)
    criterion = Criterion.of(candidates, np.ones(2))
    chosen = [0, 3, 5, 8, 13, 21, 22, 25]
    inverses = criterion.inverses(chosen)
    before = information(candidates, chosen)
    added = criterion.gains(inverses)
    exchanged = criterion.gains(inverses, without=13)
    for place in (1, 2, 29):
        after = information(candidates, [*chosen, place])
        assert added[place] == pytest.approx(after - before, abs=1e-2)
        swapped = [place if one == 13 else one for one in chosen]
        assert exchanged[place] == pytest.approx(
            information(candidates, swapped) - before, abs=1e-2
        )


def test_the_choice_is_the_best_or_next_to_it():
    candidates = random_candidates(14, seed=3)
    best = max(information(candidates, list(some)) for some in combinations(range(14), 8))
    # A quarter of 8 mixtures must leave each source out, which can cost a little.
    assert information(candidates, choose(candidates, 8, np.ones(2))) > best - 0.35


def test_every_source_is_left_out_often_enough():
    candidates = random_candidates(300, seed=1)
    chosen = choose(candidates, 120, np.ones(2))
    assert len(set(chosen)) == 120
    assert ((candidates.shares[chosen] == 0).sum(axis=0) >= 25).all()


def test_a_source_that_is_always_there_is_no_obstacle():
    candidates = random_candidates(60, seed=1)
    shares = np.clip(candidates.shares, 0.01, None)
    always = Candidates(candidates.x, shares, candidates.places, candidates.specs)
    assert len(choose(always, 20, np.ones(2))) == 20


def test_beginnings_of_a_design_tell_more_than_beginnings_at_random():
    candidates = random_candidates(200, seed=2)
    chosen = choose(candidates, 40, np.ones(2))
    random = np.random.default_rng(0)
    others = [random.permutation(chosen)[:12].tolist() for _ in range(50)]
    by_chance = np.quantile([information(candidates, some) for some in others], 0.9)
    assert information(candidates, chosen[:12]) > by_chance


def test_precision_is_what_least_squares_gives():
    rows = scored()
    drawn = draw_candidates(rows, 40, 30, seed=1)
    found = precision(drawn.x, drawn.shares, rows)
    design = np.column_stack([drawn.x / rows.spread, nuisance_terms(drawn.shares)])
    fit = sm.OLS(np.random.default_rng(0).normal(size=30), design).fit()
    per_noise = fit.bse / np.sqrt(fit.scale)
    np.testing.assert_allclose(found.standard_errors, per_noise[:3])
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    wanted = [variance_inflation_factor(design, i) for i in range(3)]
    np.testing.assert_allclose(found.vif, wanted, rtol=1e-6)


def test_designed_mixtures_halve_the_standard_errors_of_random_ones():
    found = design_mixtures(scored(), 40, 40, seed=0)
    assert [mixture.name for mixture in found.mixtures[:2]] == ["design-001", "design-002"]
    assert all(len(set(mixture.rows)) == 40 for mixture in found.mixtures)
    assert all(abs(sum(mixture.shares.values()) - 1) < 1e-12 for mixture in found.mixtures)
    assert found.gain < 0.5
    assert min(found.left_out.values()) >= 10
    assert found.n_candidates == 640
    again = design_mixtures(scored(), 40, 40, seed=0)
    assert again.mixtures == found.mixtures
    assert design_mixtures(scored(), 40, 40, seed=1).mixtures != found.mixtures


def test_too_few_runs_for_the_coefficients_are_told_not_hidden():
    found = design_mixtures(scored(), 5, 40, seed=0)
    assert set(found.precision.standard_errors) == {float("inf")}
    assert np.isnan(found.gain)


def test_an_indicator_that_does_not_vary_is_refused():
    rows = scored()
    rows.x[:, 1] = 2.0
    with pytest.raises(ExperimentError, match="b is the same in all 560 rows"):
        design_mixtures(rows, 10, 40, seed=0)
