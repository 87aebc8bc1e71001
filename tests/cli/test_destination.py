"""What a command writes may go to an object store."""

from __future__ import annotations

import json

import pytest

from instructmining.folders import open_folder
from objects import s3_server

pytest.importorskip("moto", reason="moto is not installed")


@pytest.fixture(scope="module")
def server():
    with s3_server() as running:
        yield running


def address_of(server, folder: str, name: str) -> str:
    head, mark, query = server.folder(folder).partition("?")
    return f"{head}/{name}{mark}{query}"


def test_scores(run, server, pool, tmp_path):
    options = ("--indicators", "mtld", "--store", tmp_path / "store")
    here, there = tmp_path / "scores.parquet", address_of(server, "scores", "scores.parquet")
    assert run("score", pool, *options, "-o", here).code == 0
    done = run("score", pool, *options, "-o", there)
    assert done.code == 0, done.err
    folder = open_folder(server.folder("scores"))
    assert folder.names("") == ["scores.parquet", "scores.parquet.manifest.json"]
    content, manifest = folder.read_all(folder.names(""))
    assert content == here.read_bytes()
    assert [*json.loads(manifest)["outputs"]] == ["scores.parquet"]


def test_selections_with_scores_from_there(run, server, pool, tmp_path, byte_tokenizer):
    options = ("--rule", "longest", "--keep", 2, "--lm", byte_tokenizer)
    scores = address_of(server, "table", "scores.parquet")
    columns = ("--indicators", "len_out,len_in,len,mtld", "--lm", byte_tokenizer)
    assert run("score", pool, *columns, "-o", scores).code == 0
    assert run("select", pool, *options, "-o", tmp_path / "best.jsonl").code == 0
    there = address_of(server, "best", "best.jsonl")
    done = run("select", pool, *options, "--scores", scores, "-o", there)
    assert done.code == 0, done.err
    folder = open_folder(server.folder("best"))
    ends = ("", ".decisions.parquet", ".manifest.json")
    assert folder.names("") == [f"best.jsonl{end}" for end in ends]
    kept, decisions, _ = folder.read_all(folder.names(""))
    assert kept == (tmp_path / "best.jsonl").read_bytes()
    assert decisions == (tmp_path / "best.jsonl.decisions.parquet").read_bytes()
    shown = server.folder("best").partition("?")[0]
    assert f"decisions: {shown}/best.jsonl.decisions.parquet" in done.err


def test_exports(run, server, pool):
    done = run("export", pool, "--to", "trl", "-o", address_of(server, "export", "train.jsonl"))
    assert done.code == 0, done.err
    folder = open_folder(server.folder("export"))
    assert folder.names("") == ["train.jsonl", "train.jsonl.manifest.json"]
    assert done.out.split() == [server.folder("export").partition("?")[0] + "/train.jsonl"]


def test_what_failed_leaves_nothing(run, server, tmp_path):
    (tmp_path / "bad.jsonl").write_text("no JSON")
    refused = run(
        "export", tmp_path / "bad.jsonl", "--to", "trl", "-o", address_of(server, "b", "x")
    )
    assert refused.error
    assert open_folder(server.folder("b")).names("") == []


@pytest.mark.parametrize("output", ["s3://bucket", "s3://bucket/", "s3://bucket/folder/"])
def test_an_address_names_a_file(run, pool, output):
    refused = run("score", pool, "--indicators", "mtld", "-o", output)
    assert "no file is named" in refused.error


def test_a_bucket_that_is_not_there(run, server, pool):
    address = address_of(server, "x", "y.jsonl").replace(server.bucket, "no-such-bucket")
    refused = run("export", pool, "--to", "trl", "-o", address)
    assert "no-such-bucket" in refused.error
