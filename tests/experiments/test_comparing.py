from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.contest.choosing import Ration, choose
from instructmining.experiments.contest.comparing import (
    Compared,
    Contest,
    check_keep,
    judge,
    make_contest,
    paired_losses,
    read_candidates,
)
from instructmining.experiments.execute import Executor
from instructmining.experiments.fake import FakeFinetuner
from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.planning import Materials, read_materials
from instructmining.experiments.runs import RunLog
from instructmining.experiments.specs import parse_methods
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.journal import is_intact
from instructmining.scoring.table import ScoreTable
from texts import write_pool

METHODS = ("rule", "random", "longest", "shortest", "all")
SEEDS = (0, 1, 2)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A pool of 40 rows, then one repeated, one without response and one of the evaluation."""
    pool = Path(write_pool(tmp_path / "pool.jsonl", 40, letters="abcdef", seed=1))
    evaluation = Path(write_pool(tmp_path / "evaluation.jsonl", 12, letters="nopqrst", seed=3))
    lines = pool.read_text().splitlines()
    empty = json.dumps({**json.loads(lines[1]), "output": ""})
    lines += [lines[0], empty, evaluation.read_text().splitlines()[0]]
    pool.write_text("\n".join(lines) + "\n")
    return {"pool": str(pool), "evaluation": str(evaluation)}


@pytest.fixture
def materials(files: dict[str, str]) -> Materials:
    sets = [("whole", files["evaluation"], "all"), ("fit", files["evaluation"], "fit")]
    return read_materials({"pool": files["pool"]}, sets)


def words(examples: Sequence[Example]) -> list[int]:
    return [len(example.response.split()) + 1 for example in examples]


def scores_of(materials: Materials) -> ScoreTable:
    """Predicted losses that fall along the pool; lengths that do not."""
    rows = list(materials.rows)
    frame = pl.DataFrame(
        {
            "row": [row.row for row in rows],
            "example": [row.digest for row in rows],
            "len_out": [float(row.row * 7 % 40) for row in rows],
            "predicted": [-float(row.row) for row in rows],
        }
    )
    return ScoreTable(frame, {name: {"indicator": name} for name in ("len_out", "predicted")})


def contest_of(
    materials: Materials,
    ration: Ration | None = None,
    count: Callable[[Sequence[Example]], list[int]] = words,
) -> tuple[Contest, ScoreTable]:
    ration = ration or Ration(6, "rule", seeds=SEEDS, batch_size=4)
    scores = scores_of(materials)
    # Values are given for every row of the pool, usable or not.
    values = {
        name: np.concatenate([scores.frame[name].to_numpy(), np.full(3, np.nan)])
        for name in ("len_out", "predicted")
    }
    candidates, materials = read_candidates(materials, count, values, {})
    choices = choose(parse_methods(METHODS), candidates, ration)
    setting = Setting(
        {"name": "none"}, {"method": "fake", "epochs": 2}, size=ration.keep, seeds=ration.seeds
    )
    return make_contest(materials, candidates, choices, ration, setting), scores


def run(contest: Contest, log: Path, scores: ScoreTable, limit: int | None = None) -> RunLog:
    fake = FakeFinetuner(scores, {"predicted": 0.002}, intercept=1.0, noise=0.0005)
    Executor(contest.plan, RunLog(log), fake, fake.measure, scores).run(limit=limit)
    return RunLog(log)


def compared(contest: Contest, log: RunLog) -> Compared:
    return judge(contest, log.records())


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out the measured times, and the hash over them."""
    methods = [{**cost, "seconds": None} for cost in document["methods"]]
    return {**{k: v for k, v in document.items() if k != "sha256"}, "methods": methods}


# What is compared


def test_rows_no_method_may_take_are_left_out_of_all_and_counted(materials):
    contest, _ = contest_of(materials)
    assert contest.n_usable == 40
    (source,) = contest.plan.sources
    assert source.excluded == {"duplicate": 1, "overlap:prompt": 1, "unscorable": 1}
    for mixture in contest.plan.mixtures:
        assert {row.row for row in mixture.rows} <= set(range(40)), mixture.name
    assert {m.name: len(m.rows) for m in contest.plan.mixtures}["all"] == 40


def test_rows_that_cannot_be_trained_on_are_left_out_too(materials):
    refuse = {3, 5}

    def count(examples: Sequence[Example]) -> list[int]:
        return [0 if example.row in refuse else 4 for example in examples]

    values = {"predicted": np.arange(43.0)}
    candidates, left = read_candidates(materials, count, values, {})
    assert [row.row for row in candidates.rows] == [r for r in range(40) if r not in refuse]
    assert candidates.values["predicted"].tolist() == [r for r in range(40) if r not in refuse]
    assert left.sources[0].excluded["refused_by_template"] == 2
    assert sum(left.sources[0].excluded.values()) + len(candidates.rows) == 43


def test_every_method_is_run_with_its_seeds_in_rounds(materials):
    contest, _ = contest_of(materials)
    assert contest.methods == METHODS
    assert contest.plan.runs == [
        *(("rule", 0), ("random-s0", 0), ("longest", 0), ("shortest", 0), ("all", 0)),
        *(("rule", 1), ("random-s1", 1), ("longest", 1), ("shortest", 1), ("all", 1)),
        *(("rule", 2), ("random-s2", 2), ("longest", 2), ("shortest", 2)),
    ]


def test_the_plan_of_a_comparison_is_read_back_as_it_was(materials, tmp_path):
    contest, _ = contest_of(materials)
    contest.plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == contest.plan
    # Seeds and steps are part of what is run, and of the hash.
    first, *others = contest.plan.mixtures
    for changed in (replace(first, steps_per_epoch=1), replace(first, seeds=(0,))):
        assert replace(contest.plan, mixtures=(changed, *others)).hash != contest.plan.hash


def test_costs_are_known_before_anything_is_run(materials):
    contest, _ = contest_of(materials)
    costs = {cost.method: cost for cost in contest.costs()}
    assert {method: cost.n_runs for method, cost in costs.items()} == {
        **dict.fromkeys(METHODS, 3),
        "all": 2,
    }
    # Six rows in batches of four, over two epochs; forty rows for all.
    assert [costs[method].steps for method in METHODS] == [4, 4, 4, 4, 20]
    assert {cost.seconds for cost in costs.values()} == {None}
    assert contest.budget["tokens"] == costs["rule"].tokens[0] == costs["rule"].tokens[1]
    for method in METHODS[:-1]:
        assert abs(costs[method].tokens[1] - contest.budget["tokens"]) <= 12
    assert any(note.startswith("all is exempt from the budget") for note in contest.notes)


def test_the_tuner_is_told_the_steps_of_every_mixture(materials, tmp_path):
    contest, scores = contest_of(materials)
    told: dict[int, set[int | None]] = {}

    @dataclass(frozen=True)
    class Told(FakeFinetuner):
        def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
            for job in jobs:
                assert job.steps is None
                told.setdefault(len(job.examples), set()).add(job.steps_per_epoch)
            yield from super().tuned_together(jobs)

    fake = Told(scores, {})
    Executor(contest.plan, RunLog(tmp_path / "runs.jsonl"), fake, fake.measure, scores).run()
    assert told.pop(40) == {None}
    assert set.union(*told.values()) == {2}


def test_fewer_steps_than_batches_are_told(materials):
    ration = Ration(20, "rule", seeds=SEEDS, batch_size=1)
    # As long as the lengths say, so that the longest reach the budget with few rows.
    contest, _ = contest_of(materials, ration, lambda rows: [1 + e.row * 7 % 40 for e in rows])
    fewest = min(len(mixture.rows) for mixture in contest.plan.mixtures)
    assert fewest < 20
    assert any(note.startswith(f"{fewest} steps an epoch instead of 20") for note in contest.notes)


def test_more_rows_than_there_are_and_a_single_prompt_are_refused(materials, files):
    with pytest.raises(ExperimentError, match=r"40 of the pool's 43 can be used \(left out: dup"):
        check_keep(41, materials)
    path = Path(files["evaluation"])
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    alone = read_materials({"pool": files["pool"]}, [("one", str(path), "all")])
    with pytest.raises(ExperimentError, match=r"evaluation set one: .* has one prompt"):
        contest_of(alone)


# What comes of it


def test_losses_are_paired_by_method_and_seed(materials, tmp_path):
    contest, scores = contest_of(materials)
    log = run(contest, tmp_path / "runs.jsonl", scores)
    whole, fit = paired_losses(contest, log.records())
    assert (whole.name, fit.name) == ("whole", "fit")
    assert tuple(whole.losses) == METHODS
    assert whole.seeds == {**dict.fromkeys(METHODS, (0, 1, 2)), "all": (0, 1)}
    by_run = {record["run"]: record for record in log.records()}
    found = whole.rows("random", [2])[0]
    logged = by_run["random-s2-s2"]["losses"]["whole"]["per_example"]
    assert found.tolist() == [nll for nll, _ in logged]
    assert whole.n_tokens.tolist() == [n for _, n in logged]
    assert by_run["rule-s1"]["steps_per_epoch"] == 2
    assert "steps_per_epoch" not in by_run["all-s1"]


def test_a_true_difference_is_found_and_told(materials, tmp_path):
    contest, scores = contest_of(materials)
    found = compared(contest, run(contest, tmp_path / "runs.jsonl", scores))
    assert found.comparison.verdict.startswith("rule is better than random on whole")
    contrasts = found.comparison.contrasts
    assert [(c.method, c.other) for c in contrasts[::2]] == [("rule", m) for m in METHODS[1:]]
    assert contrasts[-1].seeds == (0, 1)
    assert {c.conclusion for c in contrasts} == {"better"}
    assert set(found.untuned) == {"whole", "fit"}
    assert found.untuned["whole"]["token_mean"] == pytest.approx(np.exp(2.0), rel=1e-4)
    assert all(cost.seconds is not None for cost in found.costs)


def test_with_one_seed_nothing_is_concluded(materials, tmp_path):
    contest, scores = contest_of(materials, Ration(6, "rule", seeds=(0,), batch_size=4))
    found = compared(contest, run(contest, tmp_path / "runs.jsonl", scores))
    assert found.comparison.verdict.startswith("too few seeds to compare rule with random")
    assert {c.conclusion for c in found.comparison.contrasts} == {"too few seeds"}
    json.dumps(found.to_json(), allow_nan=False)


def test_an_interrupted_comparison_ends_as_an_undisturbed_one(materials, tmp_path):
    contest, scores = contest_of(materials)
    undisturbed = compared(contest, run(contest, tmp_path / "one.jsonl", scores))
    log = run(contest, tmp_path / "two.jsonl", scores, limit=6)
    with pytest.raises(ExperimentError, match=r"8 of 14 runs are not in the log \(first: random"):
        judge(contest, log.records())
    resumed = compared(contest, run(contest, tmp_path / "two.jsonl", scores))
    assert timeless(resumed.to_json()) == timeless(undisturbed.to_json())


def test_the_result_is_sealed_and_complete(materials, tmp_path):
    contest, scores = contest_of(materials)
    found = compared(contest, run(contest, tmp_path / "runs.jsonl", scores))
    found.save(tmp_path / "comparison.json")
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert is_intact(document)
    assert not is_intact({**document, "verdict": "rule is better than everything"})
    assert timeless(document) == timeless(found.to_json())
    assert document["plan"] == contest.plan.hash
    assert document["seeds"] == [0, 1, 2]
    assert document["pool"]["n_usable"] == 40
    assert document["budget"]["equal"] == "tokens"
    assert [cost["method"] for cost in document["methods"]] == list(METHODS)
    assert len(document["comparison"]["contrasts"]) == 8
    assert document["notes"][-1].startswith("all is exempt")


def test_runs_on_other_prompts_are_not_joined(materials, tmp_path):
    contest, scores = contest_of(materials)
    records = run(contest, tmp_path / "runs.jsonl", scores).records()
    records[3]["losses"]["whole"]["per_example"][0][1] += 1
    with pytest.raises(ExperimentError, match="measured on different prompts"):
        judge(contest, records)
