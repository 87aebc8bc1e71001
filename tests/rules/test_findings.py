from __future__ import annotations

import copy
from typing import Any

import numpy as np

from instructmining.rules.fit import Estimation, fit_rule

from .simulated import log_of, series

COLUMNS = {"len_out": "log1p", "nll": "identity"}
RAW = {"len_out": "identity", "nll": "identity"}


def warnings_of(runs: list[dict[str, Any]], **columns: str) -> str:
    return "\n".join(fit_rule(runs, evaluation="human", columns=columns or COLUMNS).warnings)


def test_a_good_experiment_raises_no_warning_and_says_what_it_shows() -> None:
    runs = series(60, n_seeds=3, mixture_noise=0.0)
    result = fit_rule(runs, evaluation="human", columns=RAW)
    assert result.warnings == ()
    said = "\n".join(result.supported)
    assert "len_out: more of it lowers the loss under both weightings; -0.0" in said
    assert "nll: more of it raises the loss under both weightings; +0.0" in said
    assert "the rule predicts better than length alone: R² higher by" in said
    assert "the rule predicts better than source shares alone: R² higher by" in said


def test_ten_runs_are_too_few_and_how_many_would_do_is_computed() -> None:
    runs = series(10, n_sources=2, mixture_noise=0.1)
    result = fit_rule(runs, evaluation="human", columns=RAW)
    (said,) = [one for one in result.warnings if "10 mixtures are few for 2 columns" in one]
    needed = int(said.split("about ")[1].split()[0])
    assert needed == max(one.needed for one in result.sensitivity)
    assert 60 < needed < 300
    noisier = fit_rule(
        series(10, n_sources=2, mixture_noise=0.02, seed_noise=0.0), evaluation="human", columns=RAW
    )
    assert max(one.needed for one in noisier.sensitivity) < needed


def test_lack_of_fit_and_unstable_sources_are_said() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    level = 1 + 0.02 * x + 0.05 * x**2
    said = warnings_of(
        log_of({"nll": x}, [list(v + 0.005 * rng.normal(size=2)) for v in level]), nll="identity"
    )
    assert "mixtures differ from the rule by more than seeds from each other (lack of fit:" in said
    assert "one source: how the rule does on another is not known" in said


def test_no_better_than_length_or_shares_is_said() -> None:
    said = warnings_of(series(60, {"len_out": -0.05, "nll": 0.0}, n_sources=3), nll="identity")
    assert "rule as shipped: not shown to predict better than length alone" in said
    assert "columns and source shares: not shown to predict better than source shares alone" in said


def test_an_effect_under_one_weighting_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    noise = 0.05 * rng.normal(size=40)
    token, example = (
        [[1 + 0.05 * a + b] for a, b in zip(x, noise, strict=True)],
        [[1 + 0.004 * a + b] for a, b in zip(x, noise, strict=True)],
    )
    said = warnings_of(log_of({"nll": x}, token, other=example), nll="identity")
    assert "nll: an effect is detectable with token weighting only: unresolved; +0.0" in said
    assert "flips" not in said


def test_what_the_runs_do_not_support_is_said(make_runs: Any, untuned: Any) -> None:
    runs = copy.deepcopy(make_runs(5, 1, mixture_noise=0.02))
    runs[0]["n_examples"] = 256
    runs[1]["indicators"]["mtld"]["n_null"] = 4
    untuned["losses"]["human"]["token_mean"] = 0.01
    columns = {"nll": "identity", "len_out": "identity", "mtld": "identity"}
    said = warnings_of([untuned, *runs], **columns)
    for part in (
        "5 mixtures are few for 3 columns: of",
        "1 degree of freedom",
        "saturated",
        "mixtures hold 128 to 256 examples",
        "noise between seeds is not known",
        "mtld: undefined in 4 of 640 rows",
        "5 of 5 runs ended no better than the untuned model",
        "mtld: no detectable effect; interval -",
    ):
        assert part in said


def test_pure_noise_is_called_noise(make_runs: Any) -> None:
    said = warnings_of(make_runs(12, 2, seed_noise=1.0, rng_seed=5), mtld="identity")
    assert "predicts no better than the mean of the others" in said


def test_a_sign_that_depends_on_the_weighting_is_unresolved(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(12, 1))
    for run in runs:
        loss = run["losses"]["human"]
        loss["example_mean"] = 1 / loss["token_mean"]
    said = warnings_of(runs)
    assert said.count("flips between token and example weighting: unresolved") == 2
    assert "with token weighting" in said


def test_collinear_columns_are_named(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(12, 1))
    rng = np.random.default_rng(0)
    for run in runs:
        nll = run["indicators"]["nll"]
        run["indicators"]["ifd"] = copy.deepcopy(nll)
        run["indicators"]["ifd"]["means"]["identity"] = (
            nll["means"]["identity"] + 0.02 * rng.normal()
        )
    assert "ifd: collinear with the other columns or the sources (VIF" in warnings_of(
        runs, nll="identity", ifd="identity"
    )


def test_an_effect_must_survive_the_choice_being_repeated() -> None:
    slopes = {"len_out": -0.05, "nll": 0.05, "mtld": 0.008, "rew": 0.0}
    found = []
    for seed in range(12):
        result = fit_rule(
            series(60, slopes, rng_seed=seed),
            evaluation="human",
            columns=dict.fromkeys(slopes, "identity"),
            estimation=Estimation(choose="aicc", draws=300),
        )
        for line in result.warnings:
            if "only if the choice of columns is taken as given" in line:
                found.append(line)
                assert not [one for one in result.supported if one[:4] == line[:4]]
        assert any(one.startswith("nll: more of it raises") for one in result.supported)
    assert found


def test_a_log_without_length_is_said_to_be_one() -> None:
    said = warnings_of(series(30, {"nll": 0.05, "rew": 0.0}), nll="identity")
    assert "the log has no length that varies" in said
