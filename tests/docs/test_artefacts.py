"""docs/artefacts.md names every field of the artefacts this version writes, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from docs.test_commands import ROOT
from experiments.test_comparing import compared, contest_of, files, materials, run  # noqa: F401
from experiments.test_searching import carried_out, pool, search_of  # noqa: F401
from instructmining import api
from instructmining.evaluation.answers import Answer, AnswerLog, Writing
from instructmining.evaluation.judges.base import Judgement, JudgementLog
from instructmining.experiments.contest import answering
from instructmining.experiments.contest.answering import Answering, Prompts
from instructmining.experiments.contest.judging import Bout, Trial, put_before
from instructmining.experiments.plan import Plan
from instructmining.heads.preferences import Preference
from instructmining.rules.provenance import Provenance
from instructmining.rules.rule import Rule
from instructmining.rules.schema import RuleDocument
from instructmining.tables import read_table
from parts.pools import a_rule, make_pool

PAGE = ROOT / "docs" / "artefacts.md"
RULE_RUNS = ROOT / "experiments" / "rule"
PUBLISHED = ROOT / "src" / "instructmining" / "rules" / "published"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
#: Part of a path that stands for any key, such as ``SET``.
ANY = re.compile(r"[A-Z]+")

#: What stands under one heading: path of a field to whether it may be missing.
Fields = dict[str, bool]


def sections(text: str) -> dict[str, Fields]:
    """Fields by heading; columns of a Parquet file under ``<heading>: columns``."""
    found: dict[str, Fields] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0].lower()
        before, _, after = part.partition("| field |")
        found[heading] = rows(after)
        if "| column |" in before:
            found[f"{heading}: columns"] = rows(before)
    return found


def rows(table: str) -> Fields:
    return {path: "optional" in kind for path, kind in ROW.findall(table)}


def differences(fields: Fields, documents: list[Mapping[str, Any]]) -> list[str]:
    """What is written and not said, and what is said and not written."""
    seen: set[str] = set()
    unsaid = {where for document in documents for where in unnamed(document, fields, seen, path="")}
    missing = {path for path, optional in fields.items() if not optional and path not in seen}
    return sorted(f"not said: {path}" for path in unsaid) + sorted(
        f"not written: {path}" for path in missing
    )


def unnamed(value: Any, fields: Fields, seen: set[str], path: str) -> Iterator[str]:
    """Yield paths of values that no field names; remember the fields met in `seen`."""
    below = [one for one in fields if one.startswith((f"{path}.", f"{path}[]")) or not path]
    if path in fields:
        seen.add(path)
    if path and not below:
        if path not in fields:
            yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from unnamed(inner, fields, seen, named(key, path, fields))
    elif isinstance(value, list):
        for inner in value:
            yield from unnamed(inner, fields, seen, f"{path}[]")
    elif value is not None:
        yield path


def named(key: str, path: str, fields: Fields) -> str:
    """Path of a key: its own, or the one that stands for any key."""
    start = f"{path}." if path else ""
    heads = {re.split(r"[.\[]", one[len(start) :])[0] for one in fields if one.startswith(start)}
    wild = [head for head in heads if matches(head, key)]
    return f"{start}{key if key in heads or not wild else wild[0]}"


def matches(head: str, key: str) -> bool:
    """Whether a part such as ``SET`` or ``value:COLUMN`` stands for a key."""
    prefix, colon, word = head.rpartition(":")
    return ANY.fullmatch(word) is not None and key.startswith(prefix + colon)


@pytest.fixture(scope="module")
def said() -> dict[str, Fields]:
    return sections(PAGE.read_text(encoding="utf-8"))


POOL = [
    {"instruction": "Name the winds.", "output": "north, east, south, west.", "task": "a"},
    {"instruction": "Say it twice.", "output": "twice twice", "task": "b"},
    {"instruction": "Count.", "output": "one two three no", "task": "a"},
]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> api.Scoring:
    return api.Scoring(store=tmp_path_factory.mktemp("store"))


def test_scores(said, scored, tmp_path):
    api.score(POOL, ["mtld"], scoring=scored).save(tmp_path / "scores.parquet")
    frame, note = read_table(tmp_path / "scores.parquet")

    assert differences(said["scores: columns"], [dict.fromkeys(frame.columns)]) == []
    assert differences(said["scores"], [note]) == []


def test_decisions(said, scored, tmp_path):
    rule = Rule.from_document(RuleDocument(("mtld",), ("identity",), (-1.0,), 0.0, Provenance()))
    (tmp_path / "evaluation.jsonl").write_text(json.dumps(POOL[2]) + "\n")
    best = api.select(
        POOL, rule, keep=1, scores=api.score(POOL, ["mtld", "len"], scoring=with_words(scored)),
        quota="task", exclude_overlap=[str(tmp_path / "evaluation.jsonl")],
        overlap_similarity=0.7, overlap="flag",
    )  # fmt: skip
    frame, note = read_table(best.write(tmp_path / "best.jsonl"))

    assert differences(said["decisions: columns"], [dict.fromkeys(frame.columns)]) == []
    assert differences(said["decisions"], [note]) == []


def test_selections_in_files(said, tmp_path):
    made = make_pool(tmp_path, [9, 5])
    folder = tmp_path / "pool"
    found = api.select_parts(
        folder / "*.jsonl", tmp_path / "out", a_rule(), scores=folder, keep=3, quota="task"
    )
    outcome = read(tmp_path / "out" / "selection.json")
    _, note = read_table(tmp_path / "out" / f"{made.parts[0].name}.decisions.parquet")

    assert len(found.parts) == 2
    assert differences(said["selection of a pool in files"], [outcome]) == []
    # Decisions name the pool and overlaps only of a pool in one file.
    assert {one for one in differences(said["decisions"], [note]) if "said" in one} == set()


def with_words(scored):
    from dataclasses import replace

    from scoring.word_model import save_word_model

    return replace(scored, lm=str(save_word_model(Path(scored.store) / "model")))


def test_rules(said):
    published = [json.loads(path.read_text()) for path in sorted(PUBLISHED.glob("*.json"))]

    assert differences(said["rule"], published) == []


def test_plans(said, materials, tmp_path):  # noqa: F811
    contest, _ = contest_of(materials)
    contest.plan.save(tmp_path / "plan.json")
    paths = [RULE_RUNS / "plan.json", tmp_path / "plan.json"]

    assert differences(said["plan"], [json.loads(path.read_text()) for path in paths]) == []
    assert Plan.load(paths[0])


def test_runs(said, materials, tmp_path):  # noqa: F811
    contest, scores = contest_of(materials)
    made = run(contest, tmp_path / "runs.jsonl", scores).records()
    lines = (RULE_RUNS / "runs.jsonl").read_text().splitlines()

    assert differences(said["runs"], [json.loads(lines[0]), json.loads(lines[1]), *made]) == []


def test_comparisons(said, materials, tmp_path):  # noqa: F811
    contest, scores = contest_of(materials)
    found = compared(contest, run(contest, tmp_path / "runs.jsonl", scores))
    found.save(tmp_path / "comparison.json")

    assert differences(said["comparison"], [read(tmp_path / "comparison.json")]) == []


def test_searches(said, pool, tmp_path):  # noqa: F811
    carried_out(search_of(pool, trials=0), tmp_path / "runs.jsonl").save(tmp_path / "search.json")

    assert differences(said["search"], [read(tmp_path / "search.json")]) == []


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


class Longer:
    """A judge that prefers the longer answer."""

    definition = {"judge": "longer"}  # noqa: RUF012
    sees_order = True

    def judge(self, questions, keep):
        for place, one in enumerate(questions):
            keep(place, Judgement("first" if len(one.first) > len(one.second) else "second"))


def test_answers_and_judgements(said, tmp_path, monkeypatch):
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in POOL))
    prompts = Prompts.read(str(tmp_path / "prompts.jsonl"))
    answers = [Answer("yes" * i, i, True) for i in (1, 2, 3)]
    monkeypatch.setattr(answering, "write_answers", lambda *_: answers)
    log = AnswerLog(tmp_path / "answers.jsonl")
    Answering(log, prompts, None, Writing())("rule-s0", "rule", 0, None)

    asked = tuple(example.prompt for example in prompts.examples)
    bout = Bout("rule", "random", asked, (answers,), (answers[::-1],))
    people = tuple(Preference(i, one.turns, "more", "m") for i, one in enumerate(prompts.examples))
    judgements = JudgementLog(tmp_path / "judgements.jsonl")
    judged = put_before(Trial((bout,), people, Writing()), Longer(), judgements)
    judged.save(tmp_path / "judged.json")

    assert differences(said["answers"], [read(tmp_path / "answers.jsonl")]) == []
    kept = (tmp_path / "judgements.jsonl").read_text().splitlines()
    assert differences(said["judgements"], [json.loads(line) for line in kept]) == []
    assert differences(said["judged"], [read(tmp_path / "judged.json")]) == []


def test_manifests(said, tmp_path):
    (tmp_path / "out").write_text("x")
    manifest = api.write_manifest([tmp_path / "out"], [PAGE], {"rule": "small"}, ["a", "b"])

    assert differences(said["manifest"], [read(manifest)]) == []


def test_what_is_not_said_or_not_written_would_be_found():
    fields = rows("| `a.SET.b[]` | list | x |\n| `c` | int, optional | x |\n| `d` | int | x |\n")

    assert differences(fields, [{"a": {"x": {"b": [1]}}, "d": 1}]) == []
    found = differences(fields, [{"a": {"x": {"b": [1], "e": 2}}, "f": {"g": 1}}])
    assert found == ["not said: a.SET.e", "not said: f", "not written: d"]
