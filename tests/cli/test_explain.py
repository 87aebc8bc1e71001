from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from instructmining.cli.explain import explain
from instructmining.errors import InputError, StoreError
from instructmining.selection.budget import Rows
from instructmining.selection.select import select_rows


@pytest.fixture
def decisions(tmp_path):
    frame = pl.DataFrame(
        {
            "row": [0, 1],
            "example": ["a" * 32, "b" * 32],
            "nll": [2.0, 1.0],
            "flags": pl.Series([[], []], dtype=pl.List(pl.String)),
        }
    )
    selection = select_rows(
        frame,
        np.array([0.6, 0.4]),
        Rows(1),
        contributions=pl.DataFrame({"nll": [0.1, -0.1]}),
        rule_columns=["nll"],
    )
    path = tmp_path / "out.decisions.parquet"
    selection.save_decisions(path, {"rule": "small-pilot", "status": "pilot"})
    return path


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(explain)
    return lambda *arguments: CliRunner().invoke(app, [str(word) for word in arguments])


def test_row_is_explained_in_words(run, decisions):
    result = run(decisions, 1)
    assert result.exit_code == 0
    assert "Kept: rank 1 of 2" in result.output
    assert "-0.1000" in result.output
    assert "small-pilot" in result.output


def test_json_is_json(run, decisions):
    plain = json.loads(run(decisions, 0, "--json").output)
    assert plain["kept"] is False
    assert plain["predicted"] == 0.6
    assert plain["contributions"] == [{"column": "nll", "contribution": 0.1, "value": 2.0}]


def test_errors_are_the_packages_own(run, decisions, tmp_path):
    assert isinstance(run(decisions, 2).exception, InputError)
    assert isinstance(run(tmp_path / "absent", 0).exception, StoreError)
