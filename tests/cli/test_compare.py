"""`instructmining compare` on a real, if tiny, model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from instructmining import api
from instructmining.errors import ExperimentError
from instructmining.experiments.plan import Plan, training_examples
from instructmining.experiments.runs import RunLog
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.journal import is_intact
from models.tiny import save_causal_lm
from texts import write_pool

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = "rule,random,longest,ifd,all"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A pool of 30 rows and one that is in the evaluation file."""
    folder = tmp_path_factory.mktemp("files")
    pool = Path(write_pool(folder / "pool.jsonl", 30, letters="abcdef", seed=1))
    evaluation = Path(write_pool(folder / "evaluation.jsonl", 12, letters="nopqrst", seed=3))
    with pool.open("a") as lines:
        lines.write(evaluation.read_text().splitlines()[5] + "\n")
    return {"pool": str(pool), "evaluation": str(evaluation), "store": str(folder / "store")}


@pytest.fixture
def arguments(given: dict[str, str], model: Path, tmp_path: Path) -> list[str]:
    return [
        *("compare", given["pool"], "--eval", f"human={given['evaluation']}"),
        *("--eval", f"part={given['evaluation']}#fit", "--keep", "6", "--seeds", "3"),
        *("--base-model", str(model), "--lm", str(model), "--store", given["store"]),
        *("--max-tokens", "256", "--learning-rate", "0.01", "-o", str(tmp_path / "out")),
    ]


def with_rule(methods: str = METHODS, rule: str = "longest") -> list[str]:
    return ["--methods", methods, "--rule", rule]


def timeless(path: Path) -> dict[str, Any]:
    """The result without measured times and the hash over them."""
    document = json.loads(path.read_text())
    assert is_intact(document)
    for cost in document["methods"]:
        assert cost.pop("seconds") >= 0
    del document["sha256"]
    return document


# Five methods, three seeds


def test_methods_are_compared_and_an_interruption_leaves_no_trace(
    run, arguments, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(*arguments, *with_rule())
    assert ended.code == 0, ended.err
    # The cost comes first, and on standard error.
    assert "14 runs, 14 of them still to be made" in ended.err
    assert ended.err.index("14 runs, 14") < ended.err.index("fine-tuning: reused 0 of 14 runs")
    assert "overlap:prompt 1" in ended.err
    # The rule is the longest response first: both chose the same rows.
    assert ended.out.startswith("rule is not practically different from longest on human")
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        *("plan.json", "runs.jsonl", "comparison.json", "comparison.json.manifest.json")
    }
    expected = timeless(folder / "comparison.json")
    assert len(RunLog(folder / "runs.jsonl").records()) == 15  # and the untuned model

    # Again, killed in the sixth run, then in two shards.
    again = [*arguments[:-1], str(tmp_path / "again"), *with_rule()]
    tuned, calls = Finetuner.tuned_together, []

    def dies(self: Finetuner, jobs: Any) -> Any:
        calls.append(jobs)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return tuned(self, jobs)

    monkeypatch.setattr(Finetuner, "tuned_together", dies)
    killed = run(*again)
    assert killed.code == 130, killed.err
    monkeypatch.setattr(Finetuner, "tuned_together", tuned)
    folder = tmp_path / "again"
    assert len(RunLog(folder / "runs.jsonl").records()) == 6
    first = run(*again, "--shard", "1/2")
    assert first.code == 0, first.err
    assert "runs are left; run it again to go on" in first.err
    assert not (folder / "comparison.json").exists()
    second = run(*again, "--shard", "2/2")
    assert second.code == 0, second.err
    assert timeless(folder / "comparison.json") == expected
    assert second.out.startswith(" ".join(expected["verdict"].split()[:6]))

    check_budgets(folder, expected)


def check_budgets(folder: Path, document: dict[str, Any]) -> None:
    plan = Plan.load(folder / "plan.json")
    costs = {cost["method"]: cost for cost in document["methods"]}
    assert costs["rule"]["rows"] == [6, 6]
    longest_row = max(len(e.response) for e in training_examples(plan).values())
    budget = document["budget"]["tokens"]
    for method in ("random", "longest", "ifd"):
        assert all(abs(n - budget) <= longest_row for n in costs[method]["tokens"])
        assert costs[method]["steps"] == costs["rule"]["steps"] == 1
    assert (costs["all"]["n_runs"], costs["all"]["rows"], costs["all"]["steps"]) == (2, [30, 30], 4)
    assert all(row.row < 30 for mixture in plan.mixtures for row in mixture.rows)
    records = RunLog(folder / "runs.jsonl").records()
    assert all(record["steps_per_epoch"] == 1 for record in records if record["mixture"] == "rule")
    # Indicators that methods went by are logged as for any run.
    assert set(records[1]["indicators"]) == {"len_out", "ifd"}


def test_nothing_is_trained_until_asked_and_cost_is_told_from_runs_before(
    run, arguments, tmp_path, given
):
    methods = ["--methods", "random,all", "--budget", "rows", "--seeds", "2"]
    ended = run(*arguments, *methods, "--limit", "0")
    assert ended.code == 0, ended.err
    assert "4 runs, 4 of them still to be made" in ended.err
    assert "6 rows each" in ended.err
    assert ended.out == ""
    assert not (tmp_path / "out" / "runs.jsonl").exists()
    made = run(*arguments, *methods)
    assert made.code == 0, made.err
    log = str(tmp_path / "out" / "runs.jsonl")
    told = run(*arguments, *methods, "--like", log)
    assert told.code == 0, told.err
    assert "as long as those of 4 runs before" in " ".join(told.err.split())
    assert "4 runs, 0 of them still to be made" in told.err
    assert "fine-tuning" not in told.err  # nothing is loaded where nothing is left
    assert told.out == made.out


def test_decisions_of_another_tool_are_a_method(run, arguments, given, model, tmp_path):
    best = tmp_path / "best.jsonl"
    chosen = run(
        *("select", given["pool"], "-o", best, "--rule", "longest", "--keep", "6"),
        *("--lm", model, "--store", given["store"]),
    )
    assert chosen.code == 0, chosen.err
    theirs = f"mine={best}.decisions.parquet"
    ended = run(*arguments, *with_rule(f"rule,{theirs}"), "--seeds", "1")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("too few seeds to compare rule with mine")
    plan = Plan.load(tmp_path / "out" / "plan.json")
    ours, other = plan.mixtures
    assert ours.rows == other.rows
    assert ours.spec == "rule" and other.spec == theirs


def test_scores_can_be_given(run, arguments, given, model, tmp_path):
    scores = tmp_path / "scores.parquet"
    scored = run(
        *("score", given["pool"], "-o", scores, "--indicators", "len_out,ifd,ppl"),
        *("--lm", model, "--store", given["store"]),
    )
    assert scored.code == 0, scored.err
    shared = ["--scores", str(scores), "--limit", "0"]
    ended = run(*arguments, *with_rule("rule,ppl,shortest"), *shared)
    assert ended.code == 0, ended.err
    assert "reused" not in ended.err
    table = pl.read_parquet(scores)
    usable = table.head(30)
    plan = Plan.load(tmp_path / "out" / "plan.json")
    taken = {mixture.name: [row.row for row in mixture.rows] for mixture in plan.mixtures}
    lowest = usable.sort("ppl", maintain_order=True)["row"].to_list()
    assert taken["ppl"] == lowest[: len(taken["ppl"])]
    longest = usable.sort("len_out", descending=True, maintain_order=True)["row"].to_list()
    assert taken["rule"] == longest[:6]

    table.drop("ifd").write_parquet(tmp_path / "foreign.parquet")
    foreign = run(*arguments, *with_rule(), "--scores", str(tmp_path / "foreign.parquet"))
    assert "not a score table" in foreign.error
    lacking = run(*arguments, *with_rule("rule,random", rule="small"), *shared)
    assert "needs column" in lacking.error


# What is refused, in one line and before anything is trained


def decisions(path: Path, rows: list[int]) -> str:
    pl.DataFrame({"row": rows, "kept": [True] * len(rows)}).write_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "random,longst"], "method 'longst' is not known; did you mean 'longest'?"),
        (["--methods", "random"], "give two or more to compare"),
        (["--methods", "rule,random"], "method rule came without a rule; name one (--rule)"),
        (with_rule("rule,random", rule="longst"), "did you mean longest?"),
        (with_rule(), None),
        (["--methods", "random,all", "--keep", "31"], "30 of the pool's 31 can be used (left out"),
        (["--methods", "random,all", "--keep", "many"], "keep 'many'"),
        (["--methods", "random,all", "--reference", "all"], "reference 'all' came"),
        (["--methods", "random,all", "--seeds", "0"], "give at least one"),
        (["--methods", "random,all", "--method", "full", "--top-layers", "2"], "n_layers 2 came"),
        (["--methods", "random,all", "--shard", "3/2"], "shard '3/2'"),
    ],
)
def test_what_makes_no_comparison_is_refused(run, arguments, tmp_path, options, said):
    if said is None:
        path = decisions(tmp_path / "other.parquet", [0, 1, 500])
        options = with_rule(f"rule,theirs={path}")
        said = "decisions of another pool, 1 of 3 rows are not in this one of 31"
    ended = run(*arguments, *options)
    assert said in ended.error
    assert not (tmp_path / "out" / "runs.jsonl").exists()


def test_a_folder_of_another_comparison_is_refused(run, arguments, tmp_path):
    begun = [*arguments, "--methods", "random,all", "--limit", "0"]
    assert run(*begun).code == 0
    plan = (tmp_path / "out" / "plan.json").read_bytes()
    assert "holds a comparison of other rows" in run(*begun, "--draw-seed", "1").error
    assert (tmp_path / "out" / "plan.json").read_bytes() == plan


def test_the_api_compares_in_one_call(given, model, tmp_path):
    setting = api.ComparisonSetting(
        seeds=(0, 1),
        base_model=str(model),
        training={"max_tokens": 256, "method": "full", "learning_rate": 1e-3, "epochs": 2},
    )
    compared = api.compare(
        given["pool"],
        [f"human={given['evaluation']}"],
        tmp_path / "out",
        keep=0.2,
        methods=["random", "all"],
        setting=setting,
    )
    assert compared.contest.budget["rows"] == 6
    assert compared.comparison.verdict
    assert [cost.steps for cost in compared.costs] == [2, 8]
    with pytest.raises(ExperimentError, match="give at least one of either, each once"):
        api.ComparisonSetting(seeds=(1, 1))


def test_the_margin_and_the_tie_width_are_the_users(run, arguments, tmp_path):
    methods = with_rule("rule,shortest")
    assert run(*arguments, *methods, "--margin", "0.9", "--tie", "50").code == 0
    document = timeless(tmp_path / "out" / "comparison.json")
    (contrast,) = (c for c in document["comparison"]["contrasts"] if c["evaluation"] == "human")
    assert document["comparison"]["terms"]["margin"] == 0.9
    assert contrast["wins"]["tie_share"] == 1
    assert contrast["conclusion"] == "no practical difference"
    refused = run(*arguments, *methods, "--margin", "-1")
    assert refused.code == 2
    assert "margin -1.0 came" in refused.err


def test_what_there_is_to_win(run, given, model, tmp_path):
    out = tmp_path / "out"
    asked = [
        *("compare", given["pool"], "--eval", f"human={given['evaluation']}#report"),
        *("--methods", "target,random", "--reference", "target", "--keep", "4", "--seeds", "2"),
        *("--base-model", str(model), "--lm", str(model), "--max-tokens", "256", "-o", str(out)),
    ]
    ended = run(*asked)
    assert ended.code == 0, ended.err
    assert "target takes rows of the evaluation files (4, none of them" in " ".join(
        ended.out.split()
    )
    plan = Plan.load(out / "plan.json")
    assert [source.name for source in plan.sources] == ["pool", "human#fit"]
    rows = training_examples(plan)
    mixture = next(one for one in plan.mixtures if one.name == "target")
    lines = [json.loads(line) for line in Path(given["evaluation"]).read_text().splitlines()]
    assert [rows[row].response for row in mixture.rows] == [
        lines[row.row]["output"] for row in mixture.rows
    ]
    logged = [one for one in RunLog(out / "runs.jsonl").records() if one["mixture"] == "target"]
    assert [one["sources"] for one in logged] == [{"human#fit": 4}] * 2
    # Nothing is left to do, and nothing is done again.
    assert "4 runs, 0 of them still to be made" in run(*asked).err


def test_rows_of_a_file_measured_whole_are_no_target(run, arguments):
    refused = run(*arguments, "--methods", "target,random")
    assert "give --eval NAME=PATH#report" in refused.error
