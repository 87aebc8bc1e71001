"""The plugin of examples/plugin, installed by pip and used by the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

import instructmining as im
from cli.conftest import Ended
from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import AnswerLog, Writing
from instructmining.evaluation.judges.base import Judgement
from instructmining.experiments.contest.answering import Prompts
from models.tiny import save_causal_lm
from plans import plan_of, write_files
from plugged import write_distribution

ROOT = Path(__file__).resolve().parents[2]
THREADS = [
    {
        "question": "How do I print in Python?",
        "context": "I am new to it.",
        "answers": [
            {"text": "Ask somebody.", "votes": -1},
            {"text": "So:\n```python\nprint(1)\nprint(2)\n```\nThat is all.", "votes": 12},
        ],
    },
    {"question": "Is it fun?", "answers": [{"text": "Yes."}, {"text": "No."}]},
    {"question": "Who knows?", "answers": []},
]
#: Words of every answer of a mixture.
N_WORDS = {"m1": 10, "m2": 40, "m3": 25}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin; pip builds it by what is installed here."""
    pytest.importorskip("hatchling", reason="hatchling is not installed; pip install hatchling")
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, *alone, str(ROOT / "examples" / "plugin")], check=True, timeout=120)
    return folder


@pytest.fixture
def shell(installed: Path, tmp_path: Path):
    """Call the command line in a process of its own, with the plugin and further folders."""

    def call(*arguments: object, beside: Path | None = None) -> Ended:
        paths = [installed, *([beside] if beside else []), ROOT / "src"]
        environment = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "INSTRUCTMINING_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "100",
        }
        ended = subprocess.run(
            [sys.executable, "-m", "instructmining", *map(str, arguments)],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return call


@pytest.fixture
def threads(tmp_path: Path) -> Path:
    path = tmp_path / "threads.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in THREADS))
    return path


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison whose runs gave answers of known lengths."""
    folder = tmp_path_factory.mktemp("answered")
    plan = plan_of(write_files(folder), save_causal_lm(folder / "tiny"))
    plan.save(folder / "plan.json")
    rows = [{"instruction": f"Say word number {i}.", "output": ""} for i in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts, log = Prompts.read(str(folder / "prompts.jsonl")), AnswerLog(folder / "answers.jsonl")
    for mixture, seed in plan.runs:
        n = N_WORDS[mixture]
        log.append(
            {
                "run": f"{mixture}-s{seed}",
                "mixture": mixture,
                "seed": seed,
                "prompts": {"path": prompts.path, "content": prompts.content},
                "writing": asdict(Writing()),
                "answers": [["word " * n, n, True] for _ in rows],
            }
        )
    return folder


def test_its_indicator_and_its_format_score_a_file(shell, threads, tmp_path):
    ended = shell("score", threads, "--indicators", "fenced,mtld", "-o", tmp_path / "out.parquet")
    assert ended.code == 0, ended.err
    assert "note:" not in ended.err
    table = pl.read_parquet(tmp_path / "out.parquet")
    # Two of four lines; none of one; no answer.
    assert table["fenced"].to_list() == [0.5, 0.0, None]
    assert "missing_response_field" in table["flags"].to_list()[2]


def test_its_format_is_written_back_as_it_came(shell, threads, byte_tokenizer, tmp_path):
    ended = shell(
        *("select", threads, "--format", "forum", "--rule", "longest", "--keep", "1"),
        *("--lm", byte_tokenizer, "-o", tmp_path / "best.jsonl"),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "best.jsonl").read_text() == threads.read_text().splitlines(True)[0]


@pytest.mark.parametrize(("words", "preferred"), [(10, 1.0), (40, 0.0)])
def test_its_judge_prefers_the_wanted_length(shell, answered, words, preferred):
    arguments = ("--judge", "concise", "--judge-option", f"words={words}", "--reference", "m1")
    ended = shell("judge", answered, *arguments)
    assert ended.code == 0, ended.err
    found = json.loads((answered / "judged.json").read_text())
    assert found["judge"] == {"judge": "concise", "version": 1, "words": words}
    shares = {one["other"]: one["preferred"] for one in found["contrasts"]}
    assert shares == {"m2": preferred, "m3": preferred}


class Shorter:
    """A judge that no package adds."""

    definition = {"judge": "shorter"}  # noqa: RUF012
    sees_order = True

    def judge(self, questions, keep):
        for place, one in enumerate(questions):
            keep(place, Judgement("first" if len(one.first) < len(one.second) else "second"))


def test_from_python_any_object_may_judge(answered):
    judged = im.judge(answered, im.JudgingSetting(judge=Shorter(), reference="m3"))
    assert judged.judge == {"judge": "shorter"}
    assert {one.other: one.preferred for one in judged.contrasts} == {"m1": 0.0, "m2": 1.0}


def test_from_python_a_judge_of_a_plugin_is_named(answered, distribution):
    source = (ROOT / "examples/plugin/src/instructmining_forum/concise.py").read_text()
    distribution("concise-plugin", source, {"judges/brief": "Concise"})
    setting = im.JudgingSetting(judge="brief", settings={"words": 24}, reference="m3")
    judged = im.judge(answered, setting)
    assert judged.judge["words"] == 24
    assert {one.other: one.preferred for one in judged.contrasts} == {"m1": 1.0, "m2": 1.0}


def test_settings_without_the_name_of_a_judge_are_refused():
    with pytest.raises(ExperimentError, match="settings words came without the name of a judge"):
        im.JudgingSetting(judge=Shorter(), settings={"words": 3})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "consise"], "judge 'consise' is not known; did you mean concise?"),
        (["--judge", "concise", "--judge-option", "wide=3"], "cannot be made with wide=3"),
        (["--judge", "concise", "--judge-option", "words"], "wanted KEY=VALUE, each KEY once"),
        (["--judge", "concise", "--judge-reward", "x"], "one judge is wanted"),
        (["--judge-option", "words=3", "--judge-reward", "x"], "settings words came without"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused_in_one_line(shell, answered, arguments, said):
    assert said in shell("judge", answered, *arguments, "--reference", "m1").error


def test_a_broken_plugin_beside_it_stops_nobody(shell, tmp_path):
    """Three entry points whose module cannot be imported; only the registry is read."""
    entries = {f"{group}/broken": "Broken" for group in ("indicators", "formats", "judges")}
    beside, pool = tmp_path / "beside", tmp_path / "pool.jsonl"
    beside.mkdir()
    write_distribution(beside, "broken-plugin", "raise RuntimeError('no such luck')", entries)
    pool.write_text(json.dumps({"instruction": "Say yes.", "output": "Yes, yes."}) + "\n")

    ended = shell("score", pool, "--indicators", "mtld", "-o", tmp_path / "own", beside=beside)
    assert ended.code == 0, ended.err
    notes = [line for line in ended.err.splitlines() if "broken" in line]
    assert notes == [
        "instructmining: note: passed over: plugin 'broken' of broken-plugin cannot be imported: "
        "no such luck; mend or uninstall broken-plugin"
    ]

    table = tmp_path / "fenced"
    assert shell("score", pool, "--indicators", "fenced", "-o", table, beside=beside).code == 0
    missed = shell("score", pool, "--indicators", "broken", "-o", table, beside=beside)
    assert "; passed over: plugin 'broken' of broken-plugin cannot be imported" in missed.error
    named = shell("score", pool, "--format", "broken", "-o", table, beside=beside)
    assert "plugin 'broken' of broken-plugin cannot be imported: no such luck" in named.error


FAULTY = """
from dataclasses import dataclass
import numpy as np
from instructmining.indicators.base import Column, Indicator

@dataclass(frozen=True)
class {name}(Indicator):
    name = "{column}"
    version = 1

    @classmethod
    def parse(cls, column):
        return cls() if column == "{column}" else None

    @property
    def columns(self):
        return (Column("{column}", "x", "none"),)

    def transform(self, examples, output):
        {body}

class Wobbly:
    definition = {{"judge": "wobbly"}}
    sees_order = True

    def judge(self, questions, keep):
        raise KeyError("no such thing")
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "fails (ZeroDivisionError: division by zero)"),
        (
            "return np.zeros(len(examples))",
            "gave float64 of shape (3,), wanted floats of shape (3, 1)",
        ),
        ("return np.array([['a']] * len(examples))", "gave <U1 of shape (3, 1), wanted floats"),
        ("return [[0.0]] * len(examples)", "gave list of shape (3, 1), wanted floats"),
    ],
)
def test_an_indicator_that_fails_while_it_runs_is_named_in_one_line(shell, tmp_path, body, said):
    folder = tmp_path / "beside"
    folder.mkdir()
    source = FAULTY.format(name="Faulty", column="faulty", body=body)
    write_distribution(folder, "faulty-one", source, {"indicators/faulty": "Faulty"})
    pool = tmp_path / "pool.jsonl"
    rows = [{"instruction": f"Question {i}", "output": f"Answer {i}"} for i in range(3)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))

    ended = shell(
        "score", pool, "--indicators", "faulty", "-o", tmp_path / "s.parquet", beside=folder
    )
    assert f"faulty_one.Faulty: {said}" in ended.error
    assert not (tmp_path / "s.parquet").exists()


def test_a_judge_that_fails_while_it_runs_is_named_in_one_line(shell, answered, tmp_path):
    folder = tmp_path / "beside"
    folder.mkdir()
    source = FAULTY.format(name="Faulty", column="faulty", body="pass")
    write_distribution(folder, "wobbly-one", source, {"judges/wobbly": "Wobbly"})
    ended = shell("judge", answered, "--judge", "wobbly", beside=folder)
    assert "wobbly_one.Wobbly: fails (KeyError: 'no such thing')" in ended.error
