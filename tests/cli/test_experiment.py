from __future__ import annotations

from pathlib import Path

import pytest

from instructmining.experiments.plan import Plan
from models.tiny import save_causal_lm
from texts import write_pool


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def given(tmp_path: Path, model: Path) -> list[str]:
    pool = write_pool(tmp_path / "pool.jsonl", 8, letters="abcdef", seed=1)
    evaluation = write_pool(tmp_path / "evaluation.jsonl", 3, letters="nopqrst", seed=3)
    return [
        *("experiment", "plan", "--source", f"pool={pool}", "--evaluation", f"e={evaluation}"),
        *("--mixture", "m=pool", "--size", "4", "--seeds", "1", "--base-model", str(model)),
        *("--output", str(tmp_path / "plan.json")),
    ]


@pytest.mark.parametrize(
    ("options", "method", "n_layers"),
    [
        ([], "lora", None),
        (["--method", "full"], "full", None),
        (["--method", "top"], "top", 4),
        (["--method", "top", "--top-layers", "2"], "top", 2),
    ],
)
def test_a_plan_says_what_is_trained(run, given, tmp_path, options, method, n_layers):
    ended = run(*given, *options, "--learning-rate", "0.0005")
    assert ended.code == 0, ended.err
    training = Plan.load(tmp_path / "plan.json").setting.training
    assert training["method"] == method
    assert training.get("n_layers") == n_layers
    assert training["learning_rate"] == 0.0005


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top-layers", "2"], "n_layers 2 came with method 'lora'"),
        (["--method", "top", "--top-layers", "0"], "n_layers 0 came"),
        (["--method", "prefix"], "prefix"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(run, given, tmp_path, options, said):
    ended = run(*given, *options)
    assert ended.code != 0
    assert said in ended.err
    assert not (tmp_path / "plan.json").exists()
