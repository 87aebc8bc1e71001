from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from instructmining.cli import fit, rules
from instructmining.errors import RuleError
from instructmining.rules.catalog import list_rules, load_rule

Write = Callable[[list[dict[str, Any]]], Path]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("COLUMNS", "100")
    app = typer.Typer()
    group = typer.Typer(invoke_without_command=True)
    group.callback()(rules.rules)
    group.command("list")(rules.list_rules)
    group.command("show")(rules.show)
    app.add_typer(group, name="rules")
    app.command("fit")(fit.fit)
    return app


def run(app: typer.Typer, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_list_is_what_comes_without_a_command(app: typer.Typer) -> None:
    listed = run(app, "rules")
    assert listed == run(app, "rules", "list")
    assert all(name in listed for name in list_rules())


def test_show_prints_what_is_known(app: typer.Typer) -> None:
    shown = run(app, "rules", "show", "instructmining-v2")
    for part in ("und_p", "+0.4421", "-0.0078", "129", "LLaMA-2-7B", "MingZhong/unieval-dialog"):
        assert part in shown


def test_show_as_json_is_the_rule_as_stored(app: typer.Typer) -> None:
    stored = json.loads(run(app, "rules", "show", "longest", "--json"))
    assert stored == load_rule("longest").document().to_json()


def test_fit_writes_the_rule_it_prints(
    app: typer.Typer, make_runs: Any, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(make_runs(8, 2, seed_noise=0.01))
    output = tmp_path / "out" / "mine.json"
    printed = run(app, "fit", log, "-o", output, "--column", "len_out=log1p", "--column", "nll")
    rule = load_rule(output)
    assert rule.features == ("log1p(len_out)", "nll")
    assert rule.name == "mine"
    assert rule.provenance_.evaluation is not None
    assert rule.provenance_.evaluation["names"] == ["human", "machine"]
    assert f"{rule.coef_[1]:+.4g}" in printed
    assert f"{rule.provenance_.loo_r2:.3f}" in printed
    assert "8 mixtures are few for 2 columns" in " ".join(printed.split())
    assert "rule written to" not in printed


def test_a_pilot_is_called_one_where_it_is_fitted_and_where_it_is_shown(
    app: typer.Typer, make_runs: Any, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(make_runs(6, 1, mixture_noise=0.01))
    options = ("--column", "nll=clip", "--evaluation", "human", "--weighting", "example")
    output = tmp_path / "small.json"
    assert "small (pilot)" in run(app, "fit", log, "-o", output, "--pilot", *options)
    assert "small (pilot)" in run(app, "rules", "show", output)


def test_a_refused_fit_leaves_no_file(
    app: typer.Typer, make_runs: Any, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(make_runs(2, 3))
    with pytest.raises(RuleError, match="2 mixtures came"):
        run(app, "fit", log, "-o", tmp_path / "x.json", "--column", "nll")
    assert not (tmp_path / "x.json").exists()
