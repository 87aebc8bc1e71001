"""`python -m experiments.rule.spread`: what the spread of a column adds to its mean."""

from __future__ import annotations

import numpy as np
import pytest
from experiments.rule.spread import NOTHING, app, left_out, spreads
from typer.testing import CliRunner

from conftest import REPOSITORY
from instructmining.experiments.plan import Plan
from instructmining.rules.runtable import RunTable
from instructmining.scoring.table import ScoreTable

FOLDER = REPOSITORY / "experiments" / "rule"
FILES = [FOLDER / name for name in ("plan.json", "runs.jsonl", "plan.scores.parquet")]


@pytest.fixture(scope="module")
def within() -> dict[str, dict[str, float]]:
    return spreads(Plan.load(FILES[0]), ScoreTable.load(FILES[2]))


def test_a_spread_is_the_deviation_over_the_rows_of_a_mixture(within):
    plan, frame = Plan.load(FILES[0]), ScoreTable.load(FILES[2]).frame
    mixture = plan.mixtures[3]
    digests = {row.digest for row in mixture.rows}
    lengths = frame["len_out"].to_numpy()
    low, high = np.percentile(lengths[np.isfinite(lengths)], [1, 99])
    own = lengths[[example in digests for example in frame["example"]]]
    wanted = np.log1p(np.clip(own, low, high)).std()
    assert within[mixture.name]["clip+log1p(len_out)"] == pytest.approx(wanted)


def test_a_spread_that_decides_the_loss_is_found_and_no_other(within):
    rng = np.random.default_rng(0)
    names = [*within]
    features = [*next(iter(within.values()))]
    x = rng.normal(size=(len(names), 2))
    loss = 0.3 * x[:, 0] - 2.0 * np.array([within[name][features[2]] for name in names])
    shares = rng.dirichlet(np.ones(3), len(names))
    table = RunTable(
        ("a", "b"), x, loss + 0.01 * rng.normal(size=len(names)), np.arange(len(names)),
        ("p", "q", "r"), shares, tuple(names),
    )  # fmt: skip
    rows = {row[0]: float(row[1]) for row in left_out({"made": table}, within)[1:]}
    assert rows.pop(f"sd of {features[2]}") > 0.99
    assert NOTHING in rows
    assert max(rows.values()) < 0.9


def test_the_tables_of_the_results_page_are_printed():
    ended = CliRunner().invoke(app, [str(path) for path in FILES])
    assert ended.exit_code == 0, ended.output
    page = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    tables = [line for line in ended.stdout.splitlines() if line.startswith("|")]
    assert len(tables) == 9 + 8 + 8
    for line in tables:
        assert line in page
