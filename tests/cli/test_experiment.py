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
        (["--top-layers", "2"], "lora", 2),
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
        (["--method", "full", "--top-layers", "2"], "n_layers 2 came with method 'full'"),
        (["--method", "top", "--top-layers", "0"], "n_layers 0 came"),
        (["--method", "prefix"], "prefix"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(run, given, tmp_path, options, said):
    ended = run(*given, *options)
    assert ended.code != 0
    assert said in ended.err
    assert not (tmp_path / "plan.json").exists()


@pytest.fixture
def drawn(tmp_path: Path, model: Path) -> list[str]:
    """A plan of two sources, without mixtures."""
    few = write_pool(tmp_path / "few.jsonl", 30, letters="ab", seed=1, n_words=20)
    many = write_pool(tmp_path / "many.jsonl", 30, letters="cdefghijklm", seed=2)
    evaluation = write_pool(tmp_path / "evaluation.jsonl", 3, letters="nopqrst", seed=3)
    return [
        *("experiment", "plan", "--source", f"few={few}", "--source", f"many={many}"),
        *("--evaluation", f"e={evaluation}", "--per-source", "25", "--size", "6", "--seeds", "2"),
        *("--base-model", str(model), "--max-tokens", "256"),
        *("--output", str(tmp_path / "plan.json"), "--store", str(tmp_path / "store")),
    ]


@pytest.fixture
def designed(drawn: list[str]) -> list[str]:
    return [
        *(*drawn, "--design", "8", "--design-column", "mtld=log1p"),
        *("--indicators", "mtld", "--replicate", "2"),
    ]


def test_a_design_says_what_it_promises_before_anything_is_spent(run, designed, tmp_path):
    ended = run(*designed)
    assert ended.code == 0, ended.err
    plan = Plan.load(tmp_path / "plan.json")
    assert len(plan.mixtures) == 8
    assert len(plan.runs) == 10
    assert [source.excluded for source in plan.sources] == [{"not_sampled": 5}] * 2
    assert "log1p(mtld)" in ended.out
    assert "std. error" in ended.out
    assert "10 runs: 8 mixtures of 6 examples, the first 2 with 2 seeds" in ended.out


def test_runs_of_a_design_read_its_scores_and_tell_the_next_plan_what_to_expect(
    run, designed, tmp_path
):
    assert run(*designed).code == 0
    log = tmp_path / "runs.jsonl"
    # A store that cannot be written: nothing may be scored again.
    ended = run(
        *("experiment", "run", str(tmp_path / "plan.json"), "-o", str(log)),
        *("--indicators", "mtld", "--store", str(tmp_path / "plan.json")),
    )
    assert ended.code == 0, ended.err
    assert len(log.read_text().splitlines()) == 11
    again = run(*designed, "--like", str(log), "--price", "2")
    assert again.code == 0, again.err
    assert "from --like" in again.out
    assert "s a run in 10 runs before" in again.out.replace("\n", " ")
    assert "at 2 an hour" in again.out.replace("\n", " ")


def test_a_plan_can_be_drawn_again_from_the_scores_of_the_first(run, designed, tmp_path):
    assert run(*designed).code == 0
    first = Plan.load(tmp_path / "plan.json")
    scores = tmp_path / "plan.scores.parquet"
    kept = scores.rename(tmp_path / "kept.parquet")
    # A store that cannot be written: nothing may be scored again.
    i = designed.index("--store")
    again = [*designed[: i + 1], str(kept), *designed[i + 2 :], "--scores", str(kept)]
    ended = run(*again, "--learning-rate", "0.002")
    assert ended.code == 0, ended.err
    second = Plan.load(tmp_path / "plan.json")
    assert second.mixtures == first.mixtures
    assert second.hash != first.hash
    assert scores.read_bytes() == kept.read_bytes()
    ended = run(*again, "--per-source", "30")
    assert ended.code == 2
    assert "has no scores; score it" in ended.err


def test_scores_without_a_column_that_is_asked_for_are_not_taken(run, designed, tmp_path):
    assert run(*designed).code == 0
    ended = run(
        *("experiment", "run", str(tmp_path / "plan.json"), "-o", str(tmp_path / "runs.jsonl")),
        *("--indicators", "mtld,len_out", "--store", str(tmp_path / "plan.json")),
    )
    # Scoring was begun, and there is no model to count tokens with.
    assert ended.code == 2
    assert "run `instructmining download`" in ended.err


def test_a_design_of_more_than_there_is_is_refused(run, designed, tmp_path):
    ended = run(*designed, "--size", "51")
    assert ended.code == 2
    assert "mixtures of 51 rows from 50" in ended.err
    assert not (tmp_path / "plan.json").exists()


def test_random_mixtures_can_be_drawn_from_the_rows_a_design_was(run, drawn, designed, tmp_path):
    assert run(*designed).code == 0
    design = Plan.load(tmp_path / "plan.json")
    ended = run(*drawn, "--random-mixtures", "3")
    assert ended.code == 0, ended.err
    plan = Plan.load(tmp_path / "plan.json")
    assert plan.sources == design.sources
    assert len(plan.mixtures) == 3
