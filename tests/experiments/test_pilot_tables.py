"""`python -m experiments.pilot`: settings compared from the committed logs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from experiments.pilot.__main__ import agreement_table, main, read, variance_table

from conftest import REPOSITORY

PILOT = REPOSITORY / "experiments" / "pilot" / "runs.jsonl"
SETTINGS = PILOT.parent / "settings"


def test_the_pilots_variances_are_those_of_its_losses():
    setting = read(PILOT, ["human-pilot"], "token")
    assert setting.name == "lora 0.001, 128 rows"
    header, row = variance_table([setting])
    line = dict(zip(header, row, strict=True))
    assert line["runs"] == "18"
    # Of the losses in docs/results.md: 0.0009 between seeds, 0.0052 between mixtures.
    assert float(line["sd between seeds"]) == pytest.approx(0.0009, abs=5e-5)
    assert float(line["sd between mixtures"]) == pytest.approx(0.0052, abs=1e-4)
    assert float(line["change of log loss"]) == pytest.approx(-0.0187, abs=1e-4)


def test_a_setting_agrees_with_itself():
    setting = read(PILOT, None, "example")
    assert agreement_table([setting, setting])[1][1] == "1.00"


def test_all_dependent_variables_are_printed(tmp_path: Path):
    copy = shutil.copy(PILOT, tmp_path / "other.jsonl")
    text = main([PILOT, Path(copy)])
    for weighting in ("token", "example"):
        for names in ("davinci-pilot and human-pilot", "davinci-pilot", "human-pilot"):
            assert f"### {names}, by {weighting}" in text


def test_a_log_without_a_tuned_model_is_told(tmp_path: Path):
    log = tmp_path / "untuned.jsonl"
    log.write_text(PILOT.read_text(encoding="utf-8").splitlines(keepends=True)[0], encoding="utf-8")
    with pytest.raises(SystemExit, match="no tuned model in this log; make its runs"):
        read(log, None, "token")


@pytest.mark.parametrize(
    ("weighting", "adapters", "whole"), [("token", 411.9, 651.6), ("example", 450.7, 405.9)]
)
def test_the_settings_docs_results_tells_of_can_be_read(weighting, adapters, whole):
    settings = [read(path, None, weighting) for path in sorted(SETTINGS.glob("*.jsonl"))]
    ratios = {s.name: s.noise.between / s.noise.seeds for s in settings if s.noise.seeds}
    # Run after the rule's experiment, so that it was not chosen among.
    assert ratios.pop("full 2e-05, 500 rows") == pytest.approx(whole, abs=0.1)
    assert max(ratios, key=lambda name: ratios[name]) == "lora 0.0003, 500 rows"
    assert ratios["lora 0.0003, 500 rows"] == pytest.approx(adapters, abs=0.1)
