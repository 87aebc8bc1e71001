from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from instructmining.cli import fit, rules
from instructmining.errors import DefinitionMismatch, InputError, RuleError
from instructmining.rules.catalog import list_rules, load_rule
from instructmining.scoring.table import ScoreTable

from .simulated import series

SLOPES = {"len_out": -0.05, "nll": 0.05, "rew": 0.0}
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
    assert "intervals rest on 5 degrees of freedom" in " ".join(printed.split())
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


def test_ten_runs_of_ones_own_are_called_too_few(
    app: typer.Typer, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(series(10, n_sources=2, mixture_noise=0.1))
    printed = run(app, "fit", log, "-o", tmp_path / "mine.json", "--column", "nll=clip")
    words = " ".join(printed.split())
    assert "10 mixtures are few for 1 column" in words
    assert re.search(r"about \d+ would show 0\.3", words)


def test_a_source_is_left_out_of_what_a_rule_is_fitted_on(
    app: typer.Typer, write_log: Write, tmp_path: Path
) -> None:
    runs = series(40, n_sources=3, mixture_noise=0.1)
    mine, by_hand = tmp_path / "mine.json", tmp_path / "by_hand.json"
    column = ("--column", "nll=clip")
    run(app, "fit", write_log(runs), "-o", mine, "--without-source", "s1", *column)
    kept = [one for one in runs if "s1" not in one["sources"]]
    run(app, "fit", write_log(kept), "-o", by_hand, *column)
    rule = load_rule(mine)
    assert 0 < rule.provenance_.n_runs == len(kept) < len(runs)
    assert rule.coef_.tolist() == load_rule(by_hand).coef_.tolist()
    assert rule.provenance_.estimation["sources"] == ["s0", "s2"]
    manifest = json.loads((tmp_path / "mine.json.manifest.json").read_text())
    assert manifest["facts"]["without"] == ["s1"]


def save_scores(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "row": range(300),
            "example": [f"{i:02x}" for i in range(300)],
            **{name: rng.normal(size=300) for name in SLOPES},
            "flags": pl.Series([[]] * 300, dtype=pl.List(pl.String)),
        }
    )
    definitions = {name: {"indicator": name} for name in SLOPES}
    ScoreTable(frame, {**definitions, **changes}).save(path)
    return path


def test_columns_are_chosen_rows_ranked_and_everything_written(
    app: typer.Typer, write_log: Write, tmp_path: Path
) -> None:
    log, rows = write_log(series(40, SLOPES, n_seeds=[1, 2])), save_scores(tmp_path / "s.parquet")
    columns = [word for name in SLOPES for word in ("--column", name)]
    more = ("--choose", "aicc", "--rows", rows, "--length-column", "rew", "--diagnostics")
    outputs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        output = folder / "rule.json"
        printed = run(app, "fit", log, "-o", output, *columns, *more, folder / "diagnostics")
        assert "Columns chosen by AICc from 8 sets" in printed
        assert "Overlap of rankings over 300 of 300 rows" in printed
        assert (folder / "rule.json.manifest.json").is_file()
        files = [path for path in folder.rglob("*.*") if "manifest" not in path.name]
        outputs.append({path.name: path.read_bytes() for path in files})
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 1 + 1 + 8
    data = json.loads(outputs[0]["diagnostics.json"])
    assert data["length"]["column"] == "rew"
    assert load_rule(tmp_path / "one" / "rule.json").provenance_.choice["method"] == "aicc"


def test_scores_of_other_columns_are_refused(
    app: typer.Typer, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(series(20, SLOPES))
    rows = save_scores(tmp_path / "s.parquet", nll={"indicator": "ifd"})
    with pytest.raises(DefinitionMismatch, match="column nll: indicator is 'ifd' in the scores"):
        run(app, "fit", log, "-o", tmp_path / "x.json", "--column", "nll", "--rows", rows)
    assert not (tmp_path / "x.json").exists()


def test_where_nothing_can_be_written_nothing_is_computed(
    app: typer.Typer, write_log: Write, tmp_path: Path
) -> None:
    log = write_log(series(20, SLOPES))
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(InputError, match="takes no files"):
        run(
            *(app, "fit", log, "-o", tmp_path / "x.json", "--column", "nll"),
            *("--diagnostics", occupied),
        )
    assert not (tmp_path / "x.json").exists()
