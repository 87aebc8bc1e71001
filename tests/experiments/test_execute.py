from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from instructmining import api
from instructmining.cli.main import app
from instructmining.errors import ExperimentError
from instructmining.evaluation.inference_loss import inference_loss
from instructmining.examples import Example
from instructmining.experiments.execute import Executor, Measure, side_by_side
from instructmining.experiments.fake import FakeFinetuner
from instructmining.experiments.mixtures import Mixture, MixtureRow
from instructmining.experiments.plan import (
    Plan,
    Setting,
    evaluation_examples,
    training_examples,
)
from instructmining.experiments.planning import make_plan, read_materials
from instructmining.experiments.runs import RunLog
from instructmining.experiments.specs import random_specs
from instructmining.experiments.tuning.finetune import Finetuner, TrainingSetting
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.rules.fit import FitResult, fit_rule
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import read_runs
from instructmining.scoring.table import ScoreTable
from models.tiny import save_causal_lm
from plans import MIXTURES, plan_of, write_files

pytestmark = pytest.mark.usefixtures("one_thread")

#: Reads no model, so nothing has to be downloaded.
COLUMNS = ["mtld"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return write_files(tmp_path)


@pytest.fixture
def plan(files: dict[str, str], model: Path) -> Plan:
    return plan_of(files, model)


@pytest.fixture
def saved(plan: Plan, tmp_path: Path) -> Path:
    plan.save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def prepare(plan: Path, log: Path, together: int | None = None) -> Executor:
    scoring = api.Scoring(store=log.parent / "store")
    return api.prepare_experiment(plan, log, columns=COLUMNS, scoring=scoring, together=together)


def dying_in_the_third_run(measure: Measure) -> Measure:
    calls = []

    def dying(model: Any, examples: Sequence[Example]) -> Mapping[str, Any]:
        calls.append(len(examples))
        if len(calls) == 8:  # two sets a run, the untuned one first: in the middle of measuring
            raise KeyboardInterrupt
        return measure(model, examples)

    return dying


class Watch:
    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.advanced = 0

    def start(self, stage: str, total: int, reused: int) -> None:
        self.started.append((stage, total, reused))

    def advance(self, rows: int) -> None:
        self.advanced += rows


# A plan carried out on a real, if tiny, model


def test_a_killed_experiment_resumes_and_ends_as_if_undisturbed(saved, tmp_path):
    undisturbed = prepare(saved, tmp_path / "undisturbed.jsonl")
    assert undisturbed.run() == 6
    expected = [record["run"] for record in undisturbed.log.records()]
    assert expected == ["untuned", "m1-s0", "m2-s0", "m3-s0", "m1-s1", "m2-s1", "m3-s1"]

    log = tmp_path / "runs.jsonl"
    killed = prepare(saved, log)
    killed.measure = dying_in_the_third_run(killed.measure)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert [record["run"] for record in RunLog(log).records()] == expected[:3]

    watch = Watch()
    resumed = prepare(saved, log)
    assert resumed.run(watch) == 4
    assert watch.started == [("fine-tuning", 6, 2)]
    assert watch.advanced == 4
    assert prepare(saved, log).run() == 0

    records = RunLog(log).records()
    assert [record["run"] for record in records] == expected
    for one, other in zip(records, undisturbed.log.records(), strict=True):
        assert one["losses"] == other["losses"], one["run"]
        assert one["indicators"] == other["indicators"], one["run"]


def test_side_by_side_a_killed_experiment_ends_with_the_same_losses(saved, tmp_path):
    alone = prepare(saved, tmp_path / "alone.jsonl")
    alone.run()
    log = tmp_path / "runs.jsonl"
    together = prepare(saved, log, together=4)
    measure = together.measure
    together.measure = dying_in_the_third_run(measure)
    with pytest.raises(KeyboardInterrupt):
        together.run()
    assert len(RunLog(log).records()) == 3
    together.measure = measure
    watch = Watch()
    assert together.run(watch) == 4
    assert watch.advanced == 4
    found = {r["run"]: r["losses"]["whole"]["token_mean"] for r in RunLog(log).records()}
    for record in alone.log.records():
        expected = record["losses"]["whole"]["token_mean"]
        assert found[record["run"]] == pytest.approx(expected, rel=1e-3), record["run"]


class Small:
    """A tuner on a device that has room for so many runs side by side."""

    def __init__(self, tuner: Any, room: int) -> None:
        self.tuner, self.room, self.asked = tuner, room, list[int]()
        self.base, self.together = tuner.base, tuner.together

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        self.asked.append(len(jobs))
        if len(jobs) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        yield from self.tuner.tuned_together(jobs)


@pytest.mark.parametrize(("room", "asked"), [(3, [4, 2, 2, 2]), (1, [4, 2, 1, 1] + [2, 1, 1] * 2)])
def test_what_does_not_fit_side_by_side_is_made_in_halves(saved, tmp_path, room, asked):
    alone = prepare(saved, tmp_path / "alone.jsonl")
    alone.run()
    crowded = prepare(saved, tmp_path / "runs.jsonl", together=4)
    crowded.tuner = small = Small(crowded.tuner, room)
    assert crowded.run() == 6
    assert small.asked == asked
    records = crowded.log.records()
    assert [r["run"] for r in records] == [r["run"] for r in alone.log.records()]
    for record, expected in zip(records, alone.log.records(), strict=True):
        loss = expected["losses"]["whole"]["token_mean"]
        assert record["losses"]["whole"]["token_mean"] == pytest.approx(loss, rel=1e-3)


def test_memory_that_runs_out_later_makes_no_run_twice(saved, tmp_path):
    executor = prepare(saved, tmp_path / "runs.jsonl", together=4)
    measure, failing = executor.measure, [5]  # the untuned model, one run, half of the next

    def short(model: Any, examples: Sequence[Example]) -> Mapping[str, Any]:
        failing[0] -= 1
        if failing[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return measure(model, examples)

    executor.measure = short
    assert executor.run() == 6
    names = [record["run"] for record in executor.log.records()]
    assert names == ["untuned", "m1-s0", "m2-s0", "m3-s0", "m1-s1", "m2-s1", "m3-s1"]


def test_other_failures_of_a_group_are_not_repeated(saved, tmp_path):
    executor = prepare(saved, tmp_path / "runs.jsonl", together=4)
    calls = []

    def failing(jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        calls.append(len(jobs))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield

    executor.tuner.tuned_together = failing
    with pytest.raises(RuntimeError, match="illegal memory access"):
        executor.run()
    assert calls == [4]


def test_runs_of_as_many_steps_stand_side_by_side():
    def mixture(name: str, rows: int, steps: int | None = None) -> Mixture:
        drawn = tuple(MixtureRow("a", row, f"{row:032x}") for row in range(rows))
        return Mixture(name, drawn, {"a": 1.0}, "", steps_per_epoch=steps)

    short, long, equal = mixture("short", 2), mixture("long", 9), mixture("equal", 5, 3)
    other = mixture("other", 7, 3)
    runs = [(m, seed) for seed in (0, 1) for m in (short, long, equal, other)]
    names = [[(m.name, seed) for m, seed in group] for group in side_by_side(runs, 3)]
    assert names == [
        [("short", 0), ("short", 1)],
        [("long", 0), ("long", 1)],
        [("equal", 0), ("other", 0), ("equal", 1)],
        [("other", 1)],
    ]
    assert side_by_side(runs, 1) == [[run] for run in runs]


def test_a_record_is_complete_and_holds_no_text(plan, saved, files, tmp_path):
    log = tmp_path / "runs.jsonl"
    executor = prepare(saved, log)
    assert executor.run(limit=1) == 1
    untuned, record = executor.log.records()
    assert set(untuned) == set(record)
    assert (untuned["run"], untuned["mixture"], untuned["n_examples"]) == ("untuned", None, 0)
    assert set(record) == {
        *("run", "mixture", "seed", "plan", "base_model", "training", "versions", "machine"),
        *("time", "n_examples", "sources", "indicators", "losses", "seconds"),
    }
    assert (record["mixture"], record["seed"], record["plan"]) == ("m1", 0, plan.hash)
    assert record["base_model"] == plan.setting.base_model
    assert TrainingSetting(**record["training"]).rank == 2
    assert record["n_examples"] == 6
    assert record["sources"]["few"] == 6
    assert set(record["losses"]) == {"whole", "fit"}
    assert record["losses"]["whole"]["n_examples"] == 6
    assert record["losses"]["fit"]["part"] == "fit"
    for loss in record["losses"].values():
        assert loss["file"] == "evaluation.jsonl"
        sums, counts = zip(*loss["per_example"], strict=True)
        assert sum(counts) == loss["n_tokens"]
        assert sum(sums) / sum(counts) == pytest.approx(loss["token_mean"], abs=1e-4)
    mtld = record["indicators"]["mtld"]
    assert mtld["n"] == 6 and mtld["definition"]["indicator"] == "mtld"
    scores = executor.scores.frame.filter(
        pl.col("example").is_in([row.digest for row in plan.mixtures[0].rows])
    )
    assert mtld["means"]["identity"] == pytest.approx(scores["mtld"].mean())
    assert set(record["versions"]) == {"instructmining", "torch", "transformers", "peft"}
    assert all(seconds >= 0 for seconds in record["seconds"].values())
    text = log.read_text()
    for name in files:
        for line in Path(files[name]).read_text().splitlines():
            assert json.loads(line)["output"][:25] not in text


def test_seeds_and_mixtures_lead_to_different_losses(saved, tmp_path):
    executor = prepare(saved, tmp_path / "runs.jsonl")
    executor.run()
    found = {record["losses"]["whole"]["token_mean"] for record in executor.log.records()}
    assert len(found) == 7  # that of the untuned model among them


def test_a_rule_can_be_fitted_from_the_log_alone(plan, saved, model, tmp_path):
    log = tmp_path / "runs.jsonl"
    prepare(saved, log).run()
    result = fit_rule(read_runs([log]), evaluation="whole", columns={"mtld": "identity"})
    assert (result.n_runs, result.n_mixtures) == (6, 3)
    assert result.rule.provenance_.seeds == (0, 1)
    assert np.isfinite(result.coefficients[1].estimate)
    direct = Finetuner.by_name(str(model), TrainingSetting(max_tokens=256))
    loss = inference_loss(direct.base, direct.chat, evaluation_examples(plan)["whole"])
    assert result.untuned == pytest.approx(np.log(loss.token_mean))


# What is refused, before anything is computed


def test_a_log_of_another_plan_is_refused(saved, files, model, tmp_path):
    log = tmp_path / "runs.jsonl"
    prepare(saved, log).run(limit=1)
    before = log.read_bytes()
    plan_of(files, model, draw_seed=1).save(tmp_path / "other.json")
    with pytest.raises(ExperimentError, match="runs of two plans do not mix"):
        prepare(tmp_path / "other.json", log)
    assert log.read_bytes() == before


@pytest.mark.parametrize("which", ["few", "evaluation"])
def test_a_file_that_changed_is_refused(saved, files, tmp_path, which):
    path = Path(files[which])
    lines = path.read_text().splitlines(keepends=True)
    changed = [line.replace('"output": "', '"output": "Now it says ', 1) for line in lines]
    path.write_text("".join(changed))
    with pytest.raises(ExperimentError, match=rf"{path.name}: changed since the plan was drawn"):
        prepare(saved, tmp_path / "runs.jsonl").run()
    assert not (tmp_path / "runs.jsonl").exists()


def test_a_base_model_that_changed_is_refused(files, tmp_path):
    folder = save_causal_lm(tmp_path / "model")
    plan_of(files, folder).save(tmp_path / "plan.json")
    save_causal_lm(folder, initializer_range=0.3)
    with pytest.raises(ExperimentError, match=r"weights .* restore them or draw a new plan"):
        prepare(tmp_path / "plan.json", tmp_path / "runs.jsonl")


# A series with a known answer

SLOPES = {"len_out": -0.3, "nll": 0.2}


def fake_series(files: dict[str, str], log: Path, noise: float, *, kill: int = 0) -> FitResult:
    """Run 12 mixtures with 3 seeds each through a fake, and fit a rule from the log."""
    sources = {name: files[name] for name in ("few", "many")}
    plan = make_plan(
        read_materials(sources, [("whole", files["evaluation"], "all")]),
        random_specs(12, sources),
        Setting({"name": "none"}, {"method": "fake"}, size=8, seeds=(0, 1, 2)),
    )
    rng = np.random.default_rng(5)
    digests = [example.digest for example in training_examples(plan).values()]
    frame = pl.DataFrame(
        {
            "row": range(len(digests)),
            "example": digests,
            "len_out": rng.lognormal(4, 1, len(digests)),
            "nll": rng.normal(2, 0.5, len(digests)),
        }
    )
    scores = ScoreTable(frame, {name: {"indicator": name} for name in SLOPES})
    fake = FakeFinetuner(
        scores, SLOPES, intercept=1.5, noise=noise, transforms={"len_out": "log1p"}
    )
    if kill:
        Executor(plan, RunLog(log), fake, fake.measure, scores).run(limit=kill)
    Executor(plan, RunLog(log), fake, fake.measure, scores).run()
    return fit_rule(
        read_runs([log]), evaluation="whole", columns={"len_out": "log1p", "nll": "identity"}
    )


def test_the_coefficients_put_into_a_fake_series_are_found(files, tmp_path):
    result = fake_series(files, tmp_path / "runs.jsonl", noise=0.0)
    assert (result.n_runs, result.n_mixtures) == (36, 12)
    estimates = [one.estimate for one in result.coefficients]
    assert estimates == pytest.approx([1.5, -0.3, 0.2], abs=1e-8)
    assert result.r2 == pytest.approx(1.0)
    assert result.untuned == pytest.approx(2.0)


def test_noise_of_a_fake_series_is_seeded_and_of_the_size_asked_for(files, tmp_path):
    result = fake_series(files, tmp_path / "one.jsonl", noise=0.02)
    again = fake_series(files, tmp_path / "two.jsonl", noise=0.02, kill=7)
    assert [one.estimate for one in result.coefficients] == [
        one.estimate for one in again.coefficients
    ]
    for one, truth in zip(result.coefficients, [1.5, -0.3, 0.2], strict=True):
        low, high = one.interval
        assert low < truth < high, one.name
        assert one.estimate != truth
    assert result.noise.seeds == pytest.approx(0.02**2, rel=0.6)


def test_a_fake_refuses_rows_and_columns_it_has_no_scores_of():
    scores = ScoreTable(
        pl.DataFrame({"example": [Example(0, (), "a").digest], "mtld": [None]}), {"mtld": {}}
    )
    fake = FakeFinetuner(scores, {"mtld": 1.0})
    with (
        pytest.raises(ExperimentError, match="not among the scores"),
        fake.tuned([Example(0, (), "b")], seed=0),
    ):
        pass
    with (
        pytest.raises(ExperimentError, match=r"mean of mtld .* undefined"),
        fake.tuned([Example(0, (), "a")], seed=0),
    ):
        pass
    with (
        pytest.raises(ExperimentError, match="lack nll"),
        replace(fake, coefficients={"nll": 1.0}).tuned([Example(0, (), "a")], seed=0),
    ):
        pass


# The command line


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_plan_run_and_fit_on_the_command_line(files, model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    plan, log, rule = tmp_path / "plan.json", tmp_path / "runs.jsonl", tmp_path / "rule.json"
    sources = [part for name in ("few", "many") for part in ("--source", f"{name}={files[name]}")]
    mixtures = [part for text in MIXTURES for part in ("--mixture", text)]
    planned = command(
        *("experiment", "plan", *sources, *mixtures, "--evaluation"),
        *(f"whole={files['evaluation']}", "--size", 6, "--seeds", 2, "--base-model", model),
        *("--max-tokens", 256, "-o", plan),
    )
    assert planned.exit_code == 0, planned.output
    assert Plan.load(plan).setting.base_model["name"] == str(model)

    run = ("experiment", "run", plan, "-o", log, "--indicators", "mtld", "--store", tmp_path / "s")
    first = command(*run, "--limit", 2)
    assert first.exit_code == 0, first.output
    assert first.stdout == f"{log}\n"
    assert [record["run"] for record in RunLog(log).records()] == ["untuned", "m1-s0", "m2-s0"]
    second = command(*run)
    assert second.exit_code == 0, second.output
    assert "fine-tuning: reused 2 of 6 runs" in second.stderr
    records = RunLog(log).records()[1:]
    assert len({record["run"] for record in records}) == 6
    assert all(list(record["indicators"]) == ["mtld"] for record in records)

    fitted = command("fit", log, "-o", rule, "--column", "mtld", "--pilot")
    assert fitted.exit_code == 0, fitted.output
    assert "mtld" in fitted.stdout
    loaded = Rule.load(rule)
    assert loaded.columns_ == ("mtld",)
    assert loaded.provenance_.status == "pilot"


def test_an_unknown_indicator_is_refused_before_anything_is_run(saved, tmp_path):
    result = command("experiment", "run", saved, "-o", tmp_path / "r.jsonl", "--indicators", "mtl")
    assert result.exit_code != 0
    assert "did you mean 'mtld'" in str(result.exception)
    assert not (tmp_path / "r.jsonl").exists()


def test_evaluation_sets_are_measured_whole_however_short_training_cuts(files, model, tmp_path):
    losses = []
    for max_tokens in (80, 256):
        plan = plan_of(files, model)
        training = {**plan.setting.training, "max_tokens": max_tokens}
        cut = replace(plan, setting=replace(plan.setting, training=training))
        saved = tmp_path / f"{max_tokens}.json"
        cut.save(saved)
        log = tmp_path / f"{max_tokens}.jsonl"
        prepare(saved, log).run(limit=1)
        losses.append(RunLog(log).records()[0]["losses"]["whole"])
    assert losses[0] == losses[1]
