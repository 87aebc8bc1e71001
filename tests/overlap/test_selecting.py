"""`select` against evaluation files, from Python, with an encoder of two layers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from instructmining import Scoring, select
from instructmining.api import open_store
from instructmining.errors import InputError, ModelError
from instructmining.formats import open_pool
from instructmining.scoring.engine import Engine
from models.tiny import save_encoder
from scoring.word_model import save_word_model

POOL = [
    {"instruction": f"task {name}", "output": output}
    for name, output in (
        ("a", "one two three"),
        ("b", "north east south west"),
        ("c", "1 2 3 4 5"),
        ("d", "x"),
        ("e", "north east  south west"),
        ("f", "p q r s t u"),
        ("g", "yes no"),
        ("h", ""),
    )
]
#: Row 1 with a word more, and a text that is like no row.
SIMILAR = {"instruction": "please tell me what the name of this wind may be", "output": "ok"}
ROW = {"instruction": "tell me what the name of this wind may be", "output": "one two three four"}


@pytest.fixture(scope="module")
def how(tmp_path_factory) -> Scoring:
    folder = tmp_path_factory.mktemp("models")
    (folder / "encoder").mkdir()
    return Scoring(
        lm=str(save_word_model(folder / "model")),
        encoder=str(save_encoder(folder / "encoder")),
        store=folder / "store",
    )


@pytest.fixture
def write(tmp_path):
    def call(name: str, *rows: dict[str, str]) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return call


def keep_all(rows, how, **asked):
    return select(rows, "longest", keep=1.0, scoring=how, **asked)


def test_near_duplicates_are_dropped_or_flagged(how, write):
    evaluation = write("evaluation.jsonl", SIMILAR)
    rows = [*POOL, ROW]
    asked = {"exclude_overlap": evaluation, "overlap_similarity": 0.7}
    assert not any(keep_all(rows, how, exclude_overlap=evaluation).decisions["overlap"])

    dropped = keep_all(rows, how, **asked)
    assert dropped.decisions["reason"][8] == "overlap:similar"
    assert dropped.decisions["overlap"].to_list() == [None] * 8 + [SIMILAR["instruction"]]
    assert not any(dropped.decisions["flags"][8])
    assert ROW not in dropped.records

    flagged = keep_all(rows, how, overlap="flag", **asked)
    assert flagged.decisions["reason"][8] == "selected"
    assert flagged.decisions["flags"][8].to_list() == ["overlap:similar"]
    assert flagged.decisions["overlap"].to_list() == dropped.decisions["overlap"].to_list()
    assert ROW in flagged.records
    assert "1 of 9 rows overlap an evaluation file and are flagged: 1 of them are kept" in (
        flagged.summary.notes
    )
    assert flagged.selection.params["overlap"] == {
        "action": "flag", "similarity": 0.7, "kinds": {"similar": 1},
    }  # fmt: skip


def test_embeddings_nearer_than_a_distance_overlap(how, write):
    first = {"instruction": "task B now", "output": "north east south west!"}
    second = {"instruction": "task F now", "output": "p q r s t u v w"}
    without = {"instruction": "no reference", "output": ""}
    files = [write("first.jsonl", first), write("second.jsonl", second, without)]
    engine = Engine(open_store(how.store), how.models())
    pool = engine.embed(open_pool(POOL))
    wanted = np.vstack([engine.embed(open_pool(path)).values for path in files])
    between = np.linalg.norm(
        pool.values.astype(np.float64)[:, None] - wanted.astype(np.float64), axis=2
    ).min(axis=1)
    distance = float(np.median(between))
    near = [row for row in range(7) if between[pool.place[row]] < distance]
    assert 1 <= len(near) <= 5

    best = keep_all(POOL, how, exclude_overlap=files, overlap_distance=distance, min_distance=1e-6)
    reasons = best.decisions["reason"].to_list()
    assert [row for row, why in enumerate(reasons) if why == "overlap:embedding"] == near
    assert set(best.decisions["overlap"].drop_nulls()) <= {"task B now", "task F now"}
    recorded = best.selection.params["overlap"]
    assert recorded["distance"] == distance
    assert recorded["encoder"]["model"] == how.encoder
    said = " ".join(best.summary.notes)
    assert "1 of 3 evaluation examples have no response and no embedding" in said
    assert "1 of 8 rows have no response" in said


def test_words_are_named_before_embeddings(how, write):
    evaluation = write("evaluation.jsonl", POOL[2])
    asked = {"exclude_overlap": [evaluation], "overlap_distance": 1e-3, "overlap": "flag"}
    best = keep_all(POOL, how, **asked)
    assert best.decisions["flags"][2].to_list() == ["overlap:prompt"]


def test_an_evaluation_file_without_references_has_no_embeddings(how, write):
    evaluation = write("evaluation.jsonl", {"instruction": "task c", "output": ""})
    best = keep_all(POOL, how, exclude_overlap=[evaluation], overlap_distance=1.9)
    assert [row for row in best.decisions["reason"] if row.startswith("overlap:")] == [
        "overlap:prompt"
    ]
    assert "1 of 1 evaluation examples have no response" in " ".join(best.summary.notes)


def test_the_encoder_reads_a_pool_once(how, write, monkeypatch):
    read = []
    embed = Engine.embed
    monkeypatch.setattr(Engine, "embed", lambda self, pool: read.append(pool) or embed(self, pool))
    evaluation = write("evaluation.jsonl", SIMILAR)
    keep_all(POOL, how, exclude_overlap=evaluation, overlap_distance=0.1, diverse=True)
    assert len(read) == 2


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"overlap_similarity": 0.7}, InputError, "--exclude-overlap"),
        ({"exclude_overlap": "none.jsonl"}, InputError, "none.jsonl"),
        ({"exclude_overlap": ["{evaluation}"], "overlap_distance": 0.2}, ModelError, "no/encoder"),
        ({"exclude_overlap": ["{evaluation}"], "overlap_similarity": 0.7}, InputError, "overlap]"),
        ({"exclude_overlap": [], "overlaps": "flag"}, TypeError, "unexpected keyword"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_scored(
    how, write, tmp_path, monkeypatch, asked, error, said
):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    evaluation = write("evaluation.jsonl", SIMILAR)
    if isinstance(asked.get("exclude_overlap"), list) and asked["exclude_overlap"]:
        asked = {**asked, "exclude_overlap": [evaluation]}
    unready = replace(how, encoder="./no/encoder", store=tmp_path / "store")
    with pytest.raises(error, match=said) as caught:
        keep_all(POOL, unready, **asked)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_runs_of_words_need_no_library(how, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    best = keep_all(POOL, how, exclude_overlap=[write("evaluation.jsonl", POOL[2])])
    assert best.decisions["reason"][2] == "overlap:prompt"


@pytest.mark.parametrize("question", [{"instruction": "task c"}, {"turns": ["task c", "again"]}])
def test_an_evaluation_file_may_be_prompts_alone(how, write, question):
    best = keep_all(POOL, how, exclude_overlap=[write("questions.jsonl", question)])
    assert best.decisions["reason"][2] == "overlap:prompt"
    assert best.selection.reasons["overlap:prompt"] == 1
