from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import REPOSITORY
from instructmining.errors import ExperimentError
from instructmining.experiments.plan import (
    Plan,
    Setting,
    evaluation_examples,
    training_examples,
)
from instructmining.experiments.planning import make_plan, read_materials
from instructmining.experiments.specs import parse_mixture, random_specs

SETTING = Setting(
    {"name": "tiny", "weights": "abc"}, {"method": "lora", "rate": 1e-3}, size=20, seeds=(0, 1)
)


def write(path: Path, prompts: list[str]) -> str:
    rows = [
        {"instruction": prompt, "input": "", "output": f"This answers {prompt} in a few words."}
        for prompt in prompts
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    questions = [f"Evaluation question number {i}?" for i in range(30)]
    return {
        "a": write(tmp_path / "a.jsonl", [f"Alpha task {i}" for i in range(60)] + questions[:5]),
        "b": write(tmp_path / "b.jsonl", [f"Beta task {i}" for i in range(40)] + ["Beta task 3"]),
        "evaluation": write(tmp_path / "evaluation.jsonl", questions),
    }


def plan_of(files: dict[str, str], setting: Setting = SETTING, n_random: int = 2) -> Plan:
    sources = {"a": files["a"], "b": files["b"]}
    evaluations = [
        ("pilot", files["evaluation"], "pilot"),
        ("everything", files["evaluation"], "all"),
    ]
    specs = [parse_mixture("m1=a", sources), parse_mixture("m2=a:1,b:3", sources)]
    materials = read_materials(sources, evaluations, setting.ngram)
    return make_plan(materials, [*specs, *random_specs(n_random, sources)], setting)


@pytest.fixture
def plan(files: dict[str, str]) -> Plan:
    return plan_of(files)


def test_a_plan_holds_what_was_asked_for(plan, files):
    assert [source.name for source in plan.sources] == ["a", "b"]
    assert [source.n_rows for source in plan.sources] == [65, 41]
    assert plan.sources[0].sha256 == hashlib.sha256(Path(files["a"]).read_bytes()).hexdigest()
    assert [evaluation.n for evaluation in plan.evaluations] == [7, 30]
    assert [mixture.name for mixture in plan.mixtures] == ["m1", "m2", "random-001", "random-002"]
    assert plan.mixtures[1].counts == {"a": 5, "b": 15}


def test_rows_overlapping_any_part_enter_no_mixture_and_are_counted(files):
    # Only the pilot part is evaluated, yet prompts of every part are kept out.
    sources = {"a": files["a"]}
    materials = read_materials(sources, [("pilot", files["evaluation"], "pilot")])
    plan = make_plan(materials, [parse_mixture("m=a", sources)], replace(SETTING, size=60))
    assert plan.sources[0].excluded == {"overlap:prompt": 5}
    assert sorted(row.row for row in plan.mixtures[0].rows) == list(range(60))
    with pytest.raises(ExperimentError, match="61 rows of a, but only 60"):
        plan_of(files, replace(SETTING, size=61))


def test_duplicates_are_counted(plan):
    assert plan.sources[1].excluded == {"duplicate": 1}


def test_save_and_load_give_the_same_plan_and_bytes(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json")
    assert loaded == plan
    assert loaded.hash == plan.hash
    loaded.save(tmp_path / "again.json")
    first, second = tmp_path / "plan.json", tmp_path / "again.json"
    assert first.read_bytes() == second.read_bytes()


def test_drawing_again_gives_the_same_plan(plan, files):
    assert plan_of(files) == plan


def test_hash_ignores_paths_and_formats_of_the_same_data(plan, files, tmp_path):
    moved = dict(files)
    rows = [json.loads(line) for line in Path(files["a"]).read_text().splitlines()]
    moved["a"] = str(tmp_path / "moved.json")
    Path(moved["a"]).write_text(json.dumps(rows), encoding="utf-8")
    again = plan_of(moved)
    assert again.sources[0].sha256 != plan.sources[0].sha256
    assert again.hash == plan.hash
    by_path = replace(SETTING, base_model={"name": "/models/tiny", "weights": "abc"})
    assert plan_of(files, by_path).hash == plan.hash


@pytest.mark.parametrize(
    "change",
    [
        {"base_model": {"name": "tiny", "weights": "abd"}},
        {"base_model": {"name": "tiny"}},
        {"training": {"method": "lora", "rate": 2e-3}},
        {"size": 19},
        {"seeds": (0,)},
        {"draw_seed": 1},
        {"ngram": 12},
        {"replicated": 2},
    ],
)
def test_hash_changes_with_all_that_matters(plan, files, change):
    assert plan_of(files, replace(SETTING, **change)).hash != plan.hash


def test_hash_changes_with_the_data(plan, files):
    assert plan_of(files, n_random=3).hash != plan.hash
    with Path(files["evaluation"]).open("a") as handle:
        handle.write(json.dumps({"instruction": "One more?", "input": "", "output": "Yes."}) + "\n")
    assert plan_of(files).hash != plan.hash


def test_every_mixture_is_run_with_every_seed_unless_some_are_replicated(plan, files):
    names = ["m1", "m2", "random-001", "random-002"]
    assert plan.runs == [(name, seed) for seed in (0, 1) for name in names]
    some = plan_of(files, replace(SETTING, seeds=(3, 4, 5), replicated=1))
    assert some.runs == [*((name, 3) for name in names), ("m1", 4), ("m1", 5)]
    for wrong in (0, 5):
        with pytest.raises(ExperimentError, match=f"{wrong} mixtures to be run with every seed"):
            plan_of(files, replace(SETTING, replicated=wrong))


def test_a_plan_without_replicates_is_written_as_before_there_were_any(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    assert "replicated" not in (tmp_path / "plan.json").read_text()


def test_a_mixture_may_have_seeds_and_steps_of_its_own(plan, tmp_path):
    first, second, *others = plan.mixtures
    own = replace(first, seeds=(1,)), replace(second, steps_per_epoch=3)
    changed = replace(plan, mixtures=(*own, *others))
    names = [mixture.name for mixture in plan.mixtures]
    assert changed.runs == [*((name, 0) for name in names[1:]), *((name, 1) for name in names)]
    changed.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == changed
    assert changed.hash != plan.hash


def test_a_plan_of_before_mixtures_had_any_is_written_as_it_was(tmp_path):
    pilot = REPOSITORY / "experiments" / "pilot" / "plan.json"
    plan = Plan.load(pilot)
    assert plan.hash == json.loads(pilot.read_text())["hash"]
    plan.save(tmp_path / "plan.json")
    assert (tmp_path / "plan.json").read_bytes() == pilot.read_bytes()


def test_sources_are_sampled_by_content_and_counted(files):
    materials = read_materials({"b": files["b"]}, [("e", files["evaluation"], "all")])
    some = materials.sampled(10, seed=0)
    assert len(list(some.rows)) == 10
    assert some.sources[0].excluded == {"duplicate": 1, "not_sampled": 30}
    assert set(some.rows) < set(materials.rows)
    assert list(materials.sampled(10, seed=1).rows) != list(some.rows)
    assert list(materials.sampled(99, seed=0).rows) == list(materials.rows)
    with pytest.raises(ExperimentError, match="0 rows of each source"):
        materials.sampled(0, seed=0)


def test_rows_and_evaluation_sets_are_read_back(plan):
    rows = training_examples(plan)
    for mixture in plan.mixtures:
        for row in mixture.rows:
            assert rows[row].digest == row.digest
            assert rows[row].prompt.startswith("Alpha" if row.source == "a" else "Beta")
    assert {name: len(e) for name, e in evaluation_examples(plan).items()} == {
        "pilot": 7,
        "everything": 30,
    }


def test_files_changed_since_are_refused(plan, files):
    path = Path(files["a"])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(ExperimentError, match=r"a.jsonl: changed since the plan was drawn"):
        training_examples(plan)
    path = Path(files["evaluation"])
    path.write_text(path.read_text().replace("in a few words", "in few words"))
    with pytest.raises(ExperimentError, match="no longer holds the evaluation set pilot"):
        evaluation_examples(plan)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "plan is not JSON"),
        (lambda text: "[1, 2]", "not a plan"),
        (lambda text: "{}", "not a plan"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "version 99, wanted 1"),
        (lambda text: text.replace('"rate": 0.001', '"rate": 0.002'), "changed after it was"),
        (lambda text: text.replace('"n_rows"', '"rows_n"'), "incomplete or malformed"),
        (lambda text: text.replace('"mixtures"', '"mixture"'), "incomplete or malformed"),
    ],
)
def test_damaged_plans_get_one_clear_line(plan, tmp_path, damage, message):
    path = tmp_path / "plan.json"
    plan.save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ExperimentError, match=message) as caught:
        Plan.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_plan(tmp_path):
    with pytest.raises(ExperimentError, match="plan cannot be read"):
        Plan.load(tmp_path / "none.json")


def test_repeated_names_and_empty_lists_are_refused(files):
    sources = {"a": files["a"]}
    spec = parse_mixture("m=a", sources)
    evaluation = ("e", files["evaluation"], "all")
    for arguments, message in [
        (({}, [evaluation], [spec], SETTING), "without source"),
        ((sources, [], [spec], SETTING), "without evaluation set"),
        ((sources, [evaluation], [], SETTING), "without mixture"),
        ((sources, [evaluation], [spec], replace(SETTING, seeds=())), "without training seed"),
        ((sources, [evaluation], [spec, spec], SETTING), "mixture m given twice"),
        ((sources, [evaluation] * 2, [spec], SETTING), "evaluation set e given twice"),
    ]:
        with pytest.raises(ExperimentError, match=message):
            given, evaluations, specs, setting = arguments
            make_plan(read_materials(given, evaluations), specs, setting)


def test_real_sources(shared_data, tmp_path):
    folder = shared_data / "instructions"
    human = shared_data / "eval/self_instruct_human_eval/user_oriented_instructions.jsonl"
    sources = {
        "code_alpaca_2k": str(folder / "code_alpaca_2k.json"),
        "dolly_3k": str(folder / "dolly_3k.json"),
        "lima": str(folder / "lima_1029_with_source.jsonl"),
    }
    specs = [parse_mixture("m=dolly_3k,lima", sources), *random_specs(3, sources)]
    evaluations = [("human-pilot", str(human), "pilot"), ("human-fit", str(human), "fit")]
    materials = read_materials(sources, evaluations)
    plan = make_plan(materials, specs, replace(SETTING, size=128))
    assert [evaluation.n for evaluation in plan.evaluations] == [60, 96]
    assert plan.sources[0].excluded["overlap:ngram"] > 0
    assert plan.mixtures[0].counts == {"dolly_3k": 64, "lima": 64}
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    written = (tmp_path / "plan.json").read_text()
    texts = [json.dumps(e.response[:60])[1:-1] for e in training_examples(plan).values()]
    assert not any(text in written for text in texts if len(text) > 20)
