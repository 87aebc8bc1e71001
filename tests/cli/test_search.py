"""`instructmining search` on a real, if tiny, model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructmining.experiments.runs import RunLog
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.journal import is_intact
from models.tiny import save_causal_lm
from texts import write_pool

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A pool of 40 rows and one that is in the evaluation file."""
    folder = tmp_path_factory.mktemp("files")
    pool = Path(write_pool(folder / "pool.jsonl", 40, letters="abcdef", seed=1))
    evaluation = Path(write_pool(folder / "evaluation.jsonl", 20, letters="nopqrst", seed=3))
    with pool.open("a") as lines:
        lines.write(evaluation.read_text().splitlines()[5] + "\n")
    return {"pool": str(pool), "evaluation": str(evaluation), "store": str(folder / "store")}


@pytest.fixture
def arguments(given: dict[str, str], model: Path, tmp_path: Path) -> list[str]:
    return [
        *("search", given["pool"], "--eval", f"human={given['evaluation']}"),
        *("--smallest", "3", "--sizes", "3", "--trials", "3", "--rule", "longest"),
        *("--base-model", str(model), "--lm", str(model), "--store", given["store"]),
        *("--max-tokens", "256", "--learning-rate", "0.01", "-o", str(tmp_path / "out")),
    ]


def timeless(path: Path) -> dict[str, Any]:
    """The result without measured times and the hash over them."""
    document = json.loads(path.read_text())
    assert is_intact(document)
    assert document.pop("seconds") > 0
    del document["sha256"]
    return document


def test_a_size_is_found_and_an_interruption_leaves_no_trace(run, arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(*arguments)
    assert ended.code == 0, ended.err
    # What it costs comes first, and on standard error.
    assert "28 runs at most" in ended.err
    assert "overlap:prompt 1" in ended.err
    assert ended.out.startswith("of 3 to 40 rows, ")
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        *("plan.json", "runs.jsonl", "search.json", "search.json.manifest.json")
    }
    expected = timeless(folder / "search.json")
    check(expected, RunLog(folder / "runs.jsonl").records())

    again = [*arguments[:-1], str(tmp_path / "again")]
    tuned, calls = Finetuner.tuned_together, []

    def dies(self: Finetuner, jobs: Any) -> Any:
        calls.append(jobs)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return tuned(self, jobs)

    monkeypatch.setattr(Finetuner, "tuned_together", dies)
    killed = run(*again)
    assert killed.code == 130, killed.err
    monkeypatch.setattr(Finetuner, "tuned_together", tuned)
    folder = tmp_path / "again"
    assert len(RunLog(folder / "runs.jsonl").records()) == 9
    short = run(*again, "--limit", "2")
    assert short.code == 0, short.err
    assert "runs are left; run it again to go on" in short.err
    assert not (folder / "search.json").exists()
    assert run(*again).code == 0
    assert timeless(folder / "search.json") == expected


def check(document: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """What is reported stands in the log, and budgets are kept."""
    sizes = {point["size"]: point for point in document["curves"]["fit"]["epochs"]["points"]}
    assert {3, 11, 40} <= set(sizes)
    assert document["best"] == min(sizes, key=lambda size: sizes[size]["loss"])
    swept = [one for one in document["tried"] if one["proposer"] == "sweep"]
    searched = [one for one in document["tried"] if one["proposer"] == "search"]
    assert [one["size"] for one in swept] == [3, 11, 40]
    assert searched[0]["size"] == 3
    assert 1 <= len(searched) <= 3
    runs = {(record["mixture"], record["seed"]): record for record in records}
    for one in document["tried"]:
        own = [runs[f"{one['curve']}-{one['size']}", seed] for seed in (0, 1)]
        if one["curve"] != "random":
            assert [run["n_examples"] for run in own] == [one["size"]] * 2
    untuned = runs[None, None]["losses"]["human-fit"]["nll_sum"]
    tuned = [runs["epochs-11", seed]["losses"]["human-fit"]["nll_sum"] for seed in (0, 1)]
    assert sizes[11]["loss"] == pytest.approx(sum(tuned) / 2 / untuned, rel=1e-4)
    # One number of steps at every size, two batches of eight rows: the middle of 3 and 40.
    assert {run["steps"] for key, run in runs.items() if str(key[0]).startswith("steps")} == {2}
    random = [run for key, run in runs.items() if key[0] == "random-40"]
    # All rows there are, whatever their order.
    assert {run["n_examples"] for run in random} == {40}
    assert {one["evaluation"] for one in document["comparison"]["contrasts"]} == {"human-report"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--smallest", "50"], "sizes from 50 to 40 came"),
        (["--largest", "60"], "largest size 60 came, rule can take 40 rows"),
        (["--seeds", "1"], "a size is tried with two or more"),
        (["--by", "all"], "ranks nothing"),
        (["--by", "longets"], "did you mean 'longest'?"),
        (["--sizes", "1"], "give at least 2 sizes"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(run, arguments, changed, said):
    ended = run(*arguments, *changed)
    assert ended.code == 2, ended.out
    last = ended.err.strip().splitlines()[-1]
    assert said in last


def test_a_part_of_an_evaluation_file_is_refused(run, arguments, given):
    ended = run(*arguments, "--eval", f"other={given['evaluation']}#fit")
    assert ended.code == 2
    assert "name the file without #fit" in ended.err


def test_another_search_in_the_same_folder_is_refused(run, arguments):
    assert run(*arguments, "--limit", "1").code == 0
    ended = run(*arguments, "--seeds", "3")
    assert ended.code == 2
    assert "holds a search of other rows, methods or settings" in ended.err
