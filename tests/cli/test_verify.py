"""A manifest beside every output, and `instructmining verify`."""

from __future__ import annotations

import json
import shutil

import pytest

from instructmining import api
from instructmining.errors import InputError
from instructmining.journal import is_intact


@pytest.fixture
def scored(run, pool, tmp_path):
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "scores.parquet"
    ended = run("score", pool, "--indicators", "mtld", "-o", output, "--store", tmp_path / "store")
    assert ended.code == 0, ended.err
    return output


def test_a_manifest_says_what_an_output_was_made_of(scored, pool):
    document = json.loads(api.manifests.manifest_beside(scored).read_text())
    assert is_intact(document)
    assert document["command"][:2] == ["instructmining", "score"]
    assert list(document["inputs"]) == [str(pool)]
    assert list(document["outputs"]) == ["scores.parquet"]
    assert document["facts"]["columns"]["mtld"]["indicator"] == "mtld"
    assert document["versions"]["instructmining"]


def test_what_is_as_it_was_is_said_so_and_may_move_together(run, scored, tmp_path):
    ended = run("verify", scored)
    assert (ended.code, ended.out) == (0, "all as it was\n")
    shutil.move(scored.parent, tmp_path / "elsewhere")
    assert run("verify", tmp_path / "elsewhere" / "scores.parquet").code == 0


def test_what_changed_or_is_gone_is_named(run, scored, pool):
    with pool.open("a") as lines:
        lines.write("\n")
    ended = run("verify", scored)
    assert (ended.code, ended.out) == (1, f"changed: input {pool}\n")
    pool.unlink()
    scored.write_bytes(scored.read_bytes()[:-1] + b"\0")
    ended = run("verify", api.manifests.manifest_beside(scored))
    assert ended.code == 1
    assert ended.out == f"missing: input {pool}\nchanged: output scores.parquet\n"


def test_no_manifest_and_a_changed_one_are_refused(run, scored, pool):
    ended = run("verify", pool)
    assert ended.code == 2
    assert "name an output that has a manifest beside it" in ended.err
    manifest = api.manifests.manifest_beside(scored)
    manifest.write_text(manifest.read_text().replace('"score"', '"scare"', 1))
    ended = run("verify", scored)
    assert ended.code == 2
    assert "the manifest itself was changed" in ended.err
    manifest.write_text("{}")
    with pytest.raises(InputError, match="JSON, but no manifest"):
        api.verify(scored)


def test_a_selection_and_an_export_have_theirs(run, pool, scored, tmp_path):
    kept = tmp_path / "best.jsonl"
    ended = run("export", pool, "--to", "trl", "-o", kept)
    assert ended.code == 0, ended.err
    assert run("verify", kept).code == 0
    document = json.loads(api.manifests.manifest_beside(kept).read_text())
    assert document["facts"]["target"] == "trl"
