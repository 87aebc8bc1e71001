from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import REPOSITORY
from instructmining.errors import ExperimentError
from instructmining.experiments.plan import Plan
from instructmining.experiments.tuning.training import METHODS, TrainingSetting

PILOT = REPOSITORY / "experiments" / "pilot"
ADAPTERS = {"rank", "alpha", "target_modules"}


@pytest.mark.parametrize("method", METHODS)
def test_a_setting_survives_json(method):
    setting = TrainingSetting(method=method, learning_rate=2e-4, epochs=3)
    assert TrainingSetting(**json.loads(json.dumps(setting.to_json()))) == setting


def test_json_holds_what_the_method_reads():
    lora, top, full = (set(TrainingSetting(method=method).to_json()) for method in METHODS)
    assert lora - full == ADAPTERS
    assert top - full == {"n_layers"}
    assert full == lora & top


def test_layers_are_named_where_some_only_are_trained():
    assert TrainingSetting(method="top").n_layers == 4
    assert TrainingSetting(n_layers=6).to_json()["n_layers"] == 6
    assert TrainingSetting(**TrainingSetting(n_layers=6).to_json()) == TrainingSetting(n_layers=6)


def test_plans_and_logs_of_before_there_were_methods_still_load():
    plan = Plan.load(PILOT / "plan.json")
    setting = TrainingSetting(**plan.setting.training)
    assert setting.to_json() == plan.setting.training
    (first, *_) = (PILOT / "runs.jsonl").read_text().splitlines()
    assert TrainingSetting(**json.loads(first)["training"]) == setting


@pytest.mark.parametrize(
    ("method", "field", "value", "owner"),
    [
        ("top", "rank", 4, "lora"),
        ("full", "alpha", 4, "lora"),
        ("full", "target_modules", ["o_proj"], "lora"),
        ("full", "n_layers", 2, "lora or top"),
    ],
)
def test_a_field_the_method_does_not_read_is_refused(method, field, value, owner):
    with pytest.raises(ExperimentError, match=rf"{field} .*{method!r}.*choose method {owner}"):
        TrainingSetting(method=method, **{field: value})


def test_an_unknown_method_is_refused():
    with pytest.raises(ExperimentError, match=r"'prefix'.*lora, top, full"):
        TrainingSetting(method="prefix")


def test_no_layers_are_refused():
    with pytest.raises(ExperimentError, match="n_layers 0 came"):
        TrainingSetting(method="top", n_layers=0)


def test_planning_loads_no_torch(tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import instructmining.experiments.tuning.training, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
