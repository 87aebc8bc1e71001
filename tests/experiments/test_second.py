"""`experiments/rule/second.py`: the experiment from another starting point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from experiments.rule import second

from instructmining import api
from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.planning import make_plan, read_materials
from instructmining.experiments.specs import random_specs
from instructmining.experiments.tuning.training import TrainingSetting
from models.tiny import files_of, save_causal_lm
from texts import write_pool

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCES = {"guanaco": 1, "lima": 2, "alpaca": 3}


def test_a_series_starts_from_the_model_tuned_first(tmp_path: Path, monkeypatch):
    # Random weights are moved by little at a rate that suits trained ones.
    monkeypatch.setattr(second, "SETTING", replace(second.SETTING, learning_rate=5e-3))
    paths = {
        name: write_pool(tmp_path / f"{name}.jsonl", 12, letters="abcdefghijklm", seed=seed)
        for name, seed in SOURCES.items()
    }
    evaluation = write_pool(tmp_path / "evaluation.jsonl", 6, letters="nopqrst", seed=9)
    model = files_of(save_causal_lm(tmp_path / "tiny"))
    setting = Setting(
        {"name": model.name, "weights": model.weights},
        TrainingSetting(rank=2, learning_rate=1e-2, max_tokens=256).to_json(),
        size=4,
        seeds=(0, 1),
        draw_seed=0,
        replicated=1,
    )
    materials = read_materials(paths, [("whole", evaluation, "all")])
    make_plan(materials, random_specs(3, paths), setting).save(tmp_path / "plan.json")

    second.main(tmp_path / "plan.json", tmp_path / "base", tmp_path / "second.plan.json", 2)
    first, plan = (Plan.load(tmp_path / n) for n in ("plan.json", "second.plan.json"))
    assert plan.mixtures == first.mixtures[:2]
    assert plan.runs == [(mixture.name, 0) for mixture in plan.mixtures]
    assert plan.setting.base_model["name"] == str(tmp_path / "base")
    assert plan.setting.base_model["weights"] != model.weights

    losses = []
    for name in ("plan.json", "second.plan.json"):
        log = tmp_path / f"{name}l"
        executor = api.prepare_experiment(
            tmp_path / name, log, columns=["mtld"], scoring=api.Scoring(store=tmp_path / "store")
        )
        losses.append(executor.measure_untuned()["losses"]["whole"]["token_mean"])
    assert losses[1] < losses[0] - 1e-4
    assert executor.run() == 2
