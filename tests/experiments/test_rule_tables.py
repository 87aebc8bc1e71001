"""`python -m experiments.rule`: the tables of the results page from a run log alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from experiments.rule.__main__ import REPORTED, RULES, agreement, app, fitted
from typer.testing import CliRunner

from conftest import REPOSITORY
from instructmining.api.experiments import DESIGN_COLUMNS
from instructmining.rules.catalog import load_rule
from instructmining.rules.runlog import read_runs
from instructmining.rules.transforms import TRANSFORMS
from instructmining.scoring.table import ScoreTable

SETS = [*RULES["small"], *REPORTED]
SOURCES = ("alpaca", "dolly", "lima")
#: Change of log loss per unit of the mean: on human references, and on LIMA's.
EFFECT = {"human": -0.02, "lima": 0.02, "davinci": -0.02}


def run(number: int, random: np.random.Generator) -> dict[str, Any]:
    means = dict(zip(DESIGN_COLUMNS, random.normal(3.0, 0.3, len(DESIGN_COLUMNS)), strict=True))
    counts = random.multinomial(128, random.dirichlet(np.ones(3)))
    losses = {}
    for name in SETS:
        level = 0.9 + EFFECT[name.split("-")[0]] * means["nll"] + 0.0005 * random.normal()
        loss = float(np.exp(level + 0.01 * counts[0] / 128))
        losses[name] = {"file": name, "part": "all", "n_examples": 9, "n_tokens": 99}
        losses[name] |= {"token_mean": loss, "example_mean": loss}
    return {
        "run": f"m{number}-s0",
        "mixture": f"m{number}",
        "seed": 0,
        "plan": "p",
        "n_examples": 128,
        "sources": dict(zip(SOURCES, counts.tolist(), strict=True)),
        "indicators": {
            name: {
                "definition": {"indicator": name},
                "n": 128,
                "n_null": 0,
                "means": dict.fromkeys(TRANSFORMS, mean),
                "quantiles": [0.0, 1.0, 2.0, 3.0, 4.0],
            }
            for name, mean in means.items()
        },
        "base_model": {"name": "tiny", "weights": "0f"},
        "training": {"method": "lora"},
        "losses": losses,
    }


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(1)
    log = tmp_path / "runs.jsonl"
    log.write_text("".join(json.dumps(run(i, random)) + "\n" for i in range(60)))
    frame = pl.DataFrame(
        {
            "row": range(400),
            "example": [f"{i:064x}" for i in range(400)],
            **{name: random.lognormal(1.0, 0.4, 400) for name in DESIGN_COLUMNS},
            "flags": [[] for _ in range(400)],
        },
        schema_overrides={"flags": pl.List(pl.String)},
    )
    table = ScoreTable(frame, {name: {"indicator": name} for name in DESIGN_COLUMNS})
    table.save(tmp_path / "rows.parquet")
    return log, tmp_path / "rows.parquet"


def test_three_rules_are_fitted_and_every_table_printed(given, tmp_path):
    log, rows = given
    arguments = [str(log), "--rows", str(rows), "--out", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    rules = {name: load_rule(tmp_path / "out" / f"{name}.json") for name in RULES}
    slopes = {
        name: dict(zip(rule.columns_, rule.coef_, strict=True)) for name, rule in rules.items()
    }
    # What holds for one set is turned round on the other, and nothing is left of it on both.
    assert slopes["small-human"]["nll"] == pytest.approx(-0.02, abs=0.002)
    assert slopes["small-lima"]["nll"] == pytest.approx(0.02, abs=0.002)
    assert abs(slopes["small"].get("nll", 0.0)) < 0.002
    assert (tmp_path / "out" / "small-human" / "residuals.png").exists()
    for title in ("What is predicted unseen", "How alike the rules rank", "Bars"):
        assert f"### {title}" in ended.output
    line = next(li for li in ended.output.splitlines() if li.startswith("| `small-human` | rule"))
    assert "0.9" in line


def test_rules_that_rank_alike_or_the_reverse(given):
    frame = ScoreTable.load(given[1]).frame
    longest = load_rule("longest")
    lines = agreement({"one": longest, "two": longest}, frame)
    assert lines[1] == ["`one`, `two`", "1.000", "100%"]
    assert lines[2] == ["`one`, `longest`", "1.000", "100%"]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_of_the_package_is_the_one_the_committed_log_gives(name):
    runs = read_runs([REPOSITORY / "experiments" / "rule" / "runs.jsonl"])
    found = fitted(runs, RULES[name], name).rule
    shipped = load_rule(name)
    assert found.columns == shipped.columns
    assert found.coef_ == pytest.approx(shipped.coef_, rel=1e-6)
    assert found.intercept_ == pytest.approx(shipped.intercept_, rel=1e-6)
    made = shipped.provenance_
    assert (made.n_runs, made.n_mixtures, made.status) == (159, 129, "fitted")
