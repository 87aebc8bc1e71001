from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from instructmining.rules import validate
from instructmining.rules.choose import all_columns, best_subset, chooser
from instructmining.rules.regression import MixtureMeans, estimate, mixture_means
from instructmining.rules.runtable import RunTable, run_table
from instructmining.rules.stability import bootstrap_counts
from instructmining.rules.validate import FULL, LENGTH, NOTHING, RULE, SHARES

from .simulated import log_of, series
from .test_refits import counted

NULLS = dict.fromkeys(["mtld", "knn_6", "rew", "coh", "nat", "und", "len_in", "len"], 0.0)


def table_of(runs: list[dict[str, object]]) -> RunTable:
    columns = dict.fromkeys(runs[0]["indicators"], "identity")
    return run_table(runs, ["human"], columns, "token")


def scores_of(table: RunTable, means: MixtureMeans | None = None) -> dict[str, validate.Score]:
    means = mixture_means(table) if means is None else means
    found = validate.predictors(means, all_columns, means.only(means.features[:1]))
    return {one.name: validate.score(one, table) for one in found}


def test_scores_are_those_of_fits_made_one_by_one() -> None:
    table = table_of(series(25, n_seeds=[1, 3], n_sources=3))
    means = mixture_means(table)
    squares = {RULE: 0.0, FULL: 0.0, SHARES: 0.0, LENGTH: 0.0, NOTHING: 0.0}
    for i in range(25):
        rest = counted(means, (np.arange(25) != i).astype(float))
        own = estimate(rest)
        # Centred shares: what the mixture's own add is what they add to the mean of the rest.
        centre = rest.shares.mean(axis=0)
        terms = np.column_stack([np.ones(24), rest.x, (rest.shares - centre)[:, 1:]])
        full = np.linalg.lstsq(terms, rest.y, rcond=None)[0]
        shares = np.linalg.lstsq(terms[:, [0, 3, 4]], rest.y, rcond=None)[0]
        length = np.linalg.lstsq(terms[:, :2], rest.y, rcond=None)[0]
        at = (means.shares[i] - centre)[1:]
        predicted = {
            RULE: own.coefficients[0] + means.x[i] @ own.coefficients[1:],
            FULL: np.array([1, *means.x[i], *at]) @ full,
            SHARES: np.array([1, *at]) @ shares,
            LENGTH: length[0] + length[1] * means.x[i, 0],
            NOTHING: rest.y.mean(),
        }
        for name, value in predicted.items():
            squares[name] += ((table.y[table.mixtures == i] - value) ** 2).sum()
    total = ((table.y - table.y.mean()) ** 2).sum()
    scores = scores_of(table)
    for name, one in squares.items():
        assert scores[name].loo_r2 == pytest.approx(1 - one / total), name
    assert scores[NOTHING].loo_r2 < 0
    assert scores[NOTHING].loo_spearman is None
    rank = spearmanr(scores[RULE].left_out, means.y).statistic
    assert scores[RULE].loo_spearman == pytest.approx(rank)
    fitted = estimate(means).fitted[table.mixtures]
    assert scores[FULL].r2 == pytest.approx(1 - ((table.y - fitted) ** 2).sum() / total)


def test_a_source_left_out_is_predicted_from_runs_without_it() -> None:
    table = table_of(series(60, n_sources=3))
    means = mixture_means(table)
    shares = table.means(table.shares)
    errors = plain = 0.0
    ranks = []
    for k in range(3):
        held = shares[:, k] > 0
        own = estimate(counted(means, (~held).astype(float)))
        predicted = own.coefficients[0] + means.x[held] @ own.coefficients[1:]
        errors += ((means.y[held] - predicted) ** 2).sum()
        plain += ((means.y[held] - means.y[~held].mean()) ** 2).sum()
        ranks.append(spearmanr(predicted, means.y[held]).statistic)
    rule = scores_of(table)[RULE]
    assert rule.source_r2 == pytest.approx(1 - errors / plain)
    assert rule.source_spearman == pytest.approx(np.median(ranks))
    assert list(rule.sources) == ["s0", "s1", "s2"]
    assert scores_of(table)[NOTHING].source_r2 == pytest.approx(0.0)


def test_a_source_in_nearly_all_mixtures_cannot_be_left_out() -> None:
    rng = np.random.default_rng(0)
    share = np.full(20, 0.5)
    share[:3] = 1.0
    x = rng.normal(size=20)
    runs = log_of({"nll": x}, [[1 + 0.1 * v] for v in x], np.column_stack([share, 1 - share]))
    found = scores_of(table_of(runs))[RULE]
    assert found.source_r2 is None
    assert found.sources == {}


def test_choosing_among_noise_looks_good_in_the_sample_and_not_outside() -> None:
    inside, outside, once = [], [], []
    for seed in range(25):
        table = table_of(series(40, NULLS, n_sources=1, mixture_noise=0.05, rng_seed=seed))
        means = mixture_means(table).without_shares()
        one = validate.Predictor(RULE, means, best_subset, with_shares=False)
        inside.append(validate.score(one, table).r2)
        outside.append(validate.score(one, table).loo_r2)
        chosen = tuple(np.array(means.features)[best_subset_columns(means)])
        held = validate.Predictor(RULE, means.only(chosen), all_columns, with_shares=False)
        once.append(validate.score(held, table).loo_r2)
    assert np.mean(inside) > 0.1
    assert np.mean(outside) < 0.0
    # Chosen once on all mixtures, the columns have seen those left out.
    assert np.mean(once) > np.mean(outside) + 0.05


def best_subset_columns(means: MixtureMeans) -> np.ndarray:
    from instructmining.rules.refits import moments

    return best_subset(moments(means, np.ones((1, len(means)))))[0] != 0


def test_gains_have_intervals_that_tell_signal_from_none() -> None:
    counts = bootstrap_counts(80, 500, 0)
    real = table_of(series(80, {"len_out": -0.05, "nll": 0.05}, n_sources=3))
    null = table_of(series(80, {"len_out": -0.05, "nll": 0.0}, n_sources=3))
    for table, found in ((real, True), (null, False)):
        scores = scores_of(table)
        gain = validate.gain(scores[RULE], scores[LENGTH], table, counts)
        assert gain.value == pytest.approx(scores[RULE].loo_r2 - scores[LENGTH].loo_r2)
        assert gain.interval[0] < gain.value < gain.interval[1]
        assert (gain.interval[0] > 0.1) == found
    same = validate.gain(scores[RULE], scores[RULE], null, counts)
    assert same.interval == (0.0, 0.0)


def test_what_a_column_adds_to_length() -> None:
    table = table_of(series(60, {"len_out": -0.05, "nll": 0.04, "rew": 0.0}, n_sources=3))
    means = mixture_means(table)
    length = means.only(("len_out",))
    found = validate.validate(means, table, all_columns, length, bootstrap_counts(60, 200, 0))
    nll, rew = found.added
    assert [nll.feature, rew.feature] == ["nll", "rew"]
    both = estimate(means.only(("len_out", "nll")))
    assert nll.estimate == pytest.approx(both.coefficients[2])
    np.testing.assert_allclose(nll.interval, both.intervals()[2])
    small = ((means.y - estimate(length).fitted) ** 2).sum()
    assert nll.partial_r2 == pytest.approx(1 - ((means.y - both.fitted) ** 2).sum() / small)
    assert nll.gain.interval[0] > 0 > rew.gain.interval[0]
    assert rew.partial_r2 < 0.1


def test_without_shares_or_length_what_needs_them_is_left_out() -> None:
    means = mixture_means(table_of(series(30, n_sources=3)))
    bare = validate.predictors(means.without_shares(), chooser("none"), None)
    assert [one.name for one in bare] == [RULE, NOTHING]
    table = table_of(series(30, n_sources=3))
    found = validate.validate(
        means.without_shares(), table, all_columns, None, bootstrap_counts(30, 50, 0)
    )
    assert (found.gains, found.added) == ((), ())


def test_ranks_of_ties_and_constants() -> None:
    one, other = np.array([1.0, 2.0, 2.0, 4.0]), np.array([0.0, 3.0, 1.0, 3.0])
    assert validate.spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert validate.spearman(np.full(4, 0.1) + 1e-17, other) is None
    assert validate.spearman(other, np.ones(4)) is None


def test_a_column_that_length_determines_adds_nothing() -> None:
    means = mixture_means(table_of(series(30, n_sources=3)))
    means = replace(means, x=np.column_stack([means.x[:, 0], 2 * means.x[:, 0]]))
    table = table_of(series(30, n_sources=3))
    found = validate.validate(
        means, table, all_columns, means.only(("len_out",)), bootstrap_counts(30, 20, 0)
    )
    assert found.added == ()
