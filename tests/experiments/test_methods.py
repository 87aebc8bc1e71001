from __future__ import annotations

from pathlib import Path

import pytest

from instructmining import api
from instructmining.experiments.execute import Executor
from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.planning import make_plan, read_materials
from instructmining.experiments.specs import parse_mixture
from instructmining.experiments.tuning.training import METHODS, TrainingSetting
from models.tiny import files_of, save_causal_lm
from texts import write_pool

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = {"lora": 1e-2, "top": 3e-3, "full": 1e-3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"), num_hidden_layers=3)


def plan_of(folder: Path, model: Path, method: str) -> Plan:
    found = files_of(model)
    layers = {"n_layers": 1} if method == "top" else {}
    training = TrainingSetting(
        method=method, learning_rate=RATES[method], max_tokens=256, **layers
    ).to_json()
    sources = {"pool": write_pool(folder / "pool.jsonl", 16, letters="abcdef", seed=1)}
    evaluation = write_pool(folder / "evaluation.jsonl", 4, letters="nopqrst", seed=3)
    return make_plan(
        read_materials(sources, [("whole", evaluation, "all")]),
        [parse_mixture(text, sources) for text in ("m1=pool", "m2=random@pool")],
        # More than one step an epoch, or the seed would decide nothing but rounding.
        Setting({"name": found.name, "weights": found.weights}, training, 12, (0, 1)),
    )


def prepared(folder: Path, log: str) -> Executor:
    return api.prepare_experiment(
        folder / "plan.json",
        folder / log,
        columns=["mtld"],
        scoring=api.Scoring(store=folder / "store"),
    )


@pytest.mark.parametrize("method", METHODS)
def test_an_experiment_in_pieces_ends_as_one_in_one_go(tmp_path, model, method):
    drawn = plan_of(tmp_path, model, method)
    drawn.save(tmp_path / "plan.json")
    whole = prepared(tmp_path, "whole.jsonl")
    assert whole.run() == 4
    # Started anew for every run, with nothing left of what earlier ones computed.
    for _ in range(4):
        assert prepared(tmp_path, "pieces.jsonl").run(limit=1) == 1
    one = whole.log.records()
    other = prepared(tmp_path, "pieces.jsonl").log.records()
    assert [record["losses"] for record in one] == [record["losses"] for record in other]
    assert len({record["losses"]["whole"]["token_mean"] for record in one}) == 5
    (trained, *_) = {str(record["training"]) for record in one}
    assert trained == str(drawn.setting.training)
