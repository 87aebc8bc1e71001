from __future__ import annotations

import builtins
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from instructmining.errors import InputError
from instructmining.journal import is_intact
from instructmining.report.fit_data import fit_data, save_fit_data
from instructmining.report.fit_plots import require_matplotlib, save_plots
from instructmining.report.fits import render_fit
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.verdict import Verdict, judge
from rules.simulated import series

SLOPES = {"len_out": -0.05, "nll": 0.05, "rew": 0.0}


def verdict_of(choose: str = "aicc", **noise: Any) -> Verdict:
    result = fit_rule(
        series(40, SLOPES, n_seeds=[1, 2], **noise),
        evaluation="human",
        columns=dict.fromkeys(SLOPES, "clip"),
        estimation=Estimation(choose=choose, draws=100),
        name="mine",
    )
    rng = np.random.default_rng(0)
    return judge(result, pl.DataFrame({name: rng.normal(size=300) for name in SLOPES}))


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    return verdict_of()


def shown(verdict: Verdict, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render_fit(verdict))
    return console.export_text()


def test_everything_a_reader_needs_is_printed(verdict: Verdict) -> None:
    text = shown(verdict)
    for part in (
        "mine: 60 runs over 40 mixtures, token-weighted log loss on human",
        "shares of 4 sources held",
        "robust to heteroscedasticity (HC3)",
        "without shares",
        "Estimate by example",
        "Columns chosen by AICc from 8 sets",
        "source shares alone",
        "no column",
        "Once length is known",
        "129 mixtures",
        "lack of fit",
        "Overlap of rankings over 300 of 300 rows",
        "choice repeated",
        "beyond the means",
        "largest VIF",
        "Supported",
        "To be known",
    ):
        assert part in text, part
    nll = next(one for one in verdict.result.coefficients if one.name == "clip(nll)")
    assert f"{nll.estimate:+.4g}" in text
    assert f"{verdict.result.loo_r2:.3f}" in text


def test_it_fits_a_narrow_terminal(verdict: Verdict) -> None:
    assert max(map(len, shown(verdict, 80).splitlines())) <= 80


def test_without_choice_shares_and_rows_there_is_less_to_show() -> None:
    result = fit_rule(series(12, n_sources=1), evaluation="human", columns={"nll": "identity"})
    text = shown(judge(result))
    assert "no source shares held" in text
    for part in ("AICc", "source shares alone", "Overlap", "lack of fit"):
        assert part not in text


def test_the_penalty_of_ridge_is_named() -> None:
    assert "Ridge: penalty of" in shown(verdict_of("ridge"))


def test_all_numbers_are_plain_data(verdict: Verdict, tmp_path: Path) -> None:
    data = fit_data(verdict)
    path = tmp_path / "out" / "diagnostics.json"
    save_fit_data(verdict, path)
    saved = json.loads(path.read_text())
    assert is_intact(saved)
    assert {**data, "sha256": saved["sha256"]} == {**saved, **json.loads(json.dumps(data))}
    result = verdict.result
    assert data["coefficients"][1]["interval"] == list(result.coefficients[1].interval)
    assert data["rule"] == result.rule.document().to_json()
    assert len(data["choice"]["considered"]) == 8
    assert data["validation"]["scores"]["rule as shipped"]["loo_r2"] == result.loo_r2
    first = data["mixtures"][0]
    assert first["mixture"] == "m000"
    assert sum(first["shares"].values()) == pytest.approx(1.0)
    assert first["left_out"]["rule as shipped"] == pytest.approx(
        result.validation.scores["rule as shipped"].left_out[0]
    )
    features = [first["features"][name] for name in result.means.features]
    assert first["rule"] == pytest.approx(result.rule.intercept_ + result.rule.coef_ @ features)
    assert data["ranking"]["overlaps"][1]["top"] == 0.05
    assert {bar["met"] for bar in data["bars"]} <= {True, False}


def test_figures_are_written_twice_alike(verdict: Verdict, tmp_path: Path) -> None:
    written = save_plots(verdict, tmp_path / "one")
    again = save_plots(verdict, tmp_path / "two")
    names = {
        f"{n}.{k}"
        for n in ("residuals", "partial", "coefficients", "ranking")
        for k in ("png", "svg")
    }
    assert {path.name for path in written} == names
    for path, other in zip(written, again, strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


def test_without_rows_there_is_no_figure_of_rankings(verdict: Verdict, tmp_path: Path) -> None:
    written = save_plots(judge(verdict.result), tmp_path)
    assert not [path for path in written if path.stem == "ranking"]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"instructmining\[plots\]") as caught:
        require_matplotlib()
    assert "\n" not in str(caught.value)
