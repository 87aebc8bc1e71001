from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from instructmining.rules import diagnose
from instructmining.rules.regression import mixture_means
from instructmining.rules.runtable import RunTable, run_table

from .simulated import log_of, series

COLUMNS = {"len_out": "identity", "nll": "identity"}


def table_of(runs: list[dict[str, object]], **columns: str) -> RunTable:
    return run_table(runs, ["human"], columns or COLUMNS, "token")


@pytest.fixture
def table() -> RunTable:
    """Three to five seeds a mixture."""
    return table_of(series(8, n_seeds=[3, 4, 5, 3, 3, 4, 3, 3], n_sources=1))


def test_noise_splits_the_sum_of_squares(table: RunTable) -> None:
    noise = diagnose.noise(table)
    groups = [table.y[table.mixtures == m] for m in range(8)]
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    total = float(((table.y - table.y.mean()) ** 2).sum())
    assert noise.degrees_of_freedom == 28 - 8
    assert noise.seeds == pytest.approx(within / (28 - 8))
    assert noise.mixtures == pytest.approx(np.var([g.mean() for g in groups], ddof=1))
    assert noise.between == pytest.approx(
        noise.mixtures - within / 20 * np.mean([1 / len(g) for g in groups])
    )
    assert noise.r2_ceiling == pytest.approx(1 - within / 20 * 28 / total)


def test_no_rule_that_knew_the_mixtures_would_beat_the_ceiling_on_new_runs() -> None:
    rng = np.random.default_rng(0)
    reached, ceilings = [], []
    for _ in range(300):
        truth = rng.normal(size=30)
        # A third of the mixtures are repeated: most runs have no replicate of their own.
        losses = [
            list(t + 0.7 * rng.normal(size=3 if i % 3 == 0 else 1)) for i, t in enumerate(truth)
        ]
        table = table_of(log_of({"nll": rng.normal(size=30)}, losses), nll="identity")
        squares = ((table.y - truth[table.mixtures]) ** 2).sum()
        reached.append(1 - squares / ((table.y - table.y.mean()) ** 2).sum())
        ceilings.append(diagnose.noise(table).r2_ceiling)
    assert np.mean(ceilings) == pytest.approx(np.mean(reached), abs=0.02)


def test_without_replicates_seed_noise_is_unknown() -> None:
    noise = diagnose.noise(table_of(series(8)))
    assert (noise.seeds, noise.between, noise.r2_ceiling) == (None, None, None)


def weights_of(**noise: float) -> np.ndarray:
    table = table_of(series(200, n_seeds=[1, 4], n_sources=2, **noise))
    return diagnose.mixture_weights(mixture_means(table), table)


def test_weights_lie_between_alike_and_as_many_as_seeds() -> None:
    for weights in (weights_of(), weights_of(mixture_noise=0.001, seed_noise=0.05)):
        assert weights.mean() == pytest.approx(1.0)
        assert 1.0 <= weights[1] / weights[0] <= 4.0 + 1e-9
    mixtures_differ = weights_of(mixture_noise=0.05, seed_noise=0.01)
    seeds_differ = weights_of(mixture_noise=0.001, seed_noise=0.05)
    both = weights_of(mixture_noise=0.03, seed_noise=0.03)
    assert mixtures_differ[1] / mixtures_differ[0] < 1.1
    assert seeds_differ[1] / seeds_differ[0] > 3.0
    # (1 + 1) / (1 + 1/4)
    assert both[1] / both[0] == pytest.approx(1.6, abs=0.25)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_mixtures_of_as_many_seeds_weigh_alike(n_seeds: int) -> None:
    table = table_of(series(20, n_seeds=n_seeds))
    assert diagnose.mixture_weights(mixture_means(table), table).tolist() == [1.0] * 20


def test_weights_make_estimates_more_precise() -> None:
    errors: dict[str, list[float]] = {"weighted": [], "alike": []}
    for seed in range(150):
        table = table_of(
            series(40, n_seeds=[1, 1, 8], mixture_noise=0.002, seed_noise=0.05, rng_seed=seed)
        )
        means = mixture_means(table)
        weighted = replace(means, weights=diagnose.mixture_weights(means, table))
        for name, one in (("weighted", weighted), ("alike", means)):
            errors[name].append(diagnose.estimate(one).coefficients[2] - 0.05)
    assert np.std(errors["weighted"]) < 0.85 * np.std(errors["alike"])
    assert abs(np.mean(errors["weighted"])) < 0.003


def test_lack_of_fit_is_the_comparison_of_two_models_by_statsmodels(table: RunTable) -> None:
    means = mixture_means(table)
    found = diagnose.lack_of_fit(means, table)
    small = sm.OLS(table.y, sm.add_constant(table.x)).fit()
    large = sm.OLS(table.y, np.eye(8)[table.mixtures]).fit()
    f, p, spare = large.compare_f_test(small)
    assert found is not None
    assert (found.f, found.p) == (pytest.approx(f), pytest.approx(p))
    assert found.degrees_of_freedom == (int(spare), 20)


def curved(curvature: float, rng: np.random.Generator) -> RunTable:
    x = rng.normal(size=40)
    level = 1 + 0.05 * x + curvature * x**2
    losses = [list(value + 0.01 * rng.normal(size=2)) for value in level]
    return table_of(log_of({"nll": x}, losses), nll="identity")


def test_lack_of_fit_detects_curvature_and_else_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    alarms = {
        curvature: np.mean(
            [
                diagnose.lack_of_fit(mixture_means(table), table).p < 0.05
                for table in (curved(curvature, rng) for _ in range(200))
            ]
        )
        for curvature in (0.0, 0.02)
    }
    assert 0.02 < alarms[0.0] < 0.09
    assert alarms[0.02] > 0.95


def test_without_replicates_fit_cannot_be_tested() -> None:
    table = table_of(series(20))
    assert diagnose.lack_of_fit(mixture_means(table), table) is None
