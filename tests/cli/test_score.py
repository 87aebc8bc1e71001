"""`instructmining score`, on columns that run no model."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import LENGTHS, POOL

COLUMNS = "len_out,mtld"
DIVERSITY = [4.0, 1.0, 2.0, 2.0, 4.0, 1.0]  # words, as hardly any repeats in them


@pytest.fixture
def score(run, tmp_path, byte_tokenizer):
    """Score a pool; return what was said and the table."""

    def call(pool, *more, indicators=COLUMNS, lm=byte_tokenizer):
        out = tmp_path / "scores.parquet"
        out.unlink(missing_ok=True)
        ended = run("score", pool, "-o", out, "--indicators", indicators, "--lm", lm, *more)
        return ended, pl.read_parquet(out) if out.exists() else None

    return call


def test_the_table_has_every_row_in_order(score, pool, tmp_path):
    ended, table = score(pool)
    assert ended.code == 0
    assert ended.out == f"{tmp_path / 'scores.parquet'}\n"
    assert "6 rows, 2 columns" in ended.err
    assert table.columns == ["row", "example", "len_out", "mtld", "flags"]
    assert table["row"].to_list() == list(range(6))
    assert table["len_out"].to_list() == LENGTHS
    assert table["mtld"].to_list() == DIVERSITY
    assert table["flags"].to_list() == [[], [], [], [], [], ["duplicate"]]
    assert table["example"][1] == table["example"][5]
    assert table["example"].n_unique() == 5


def test_columns_stand_as_asked_for_and_only_those(score, pool):
    assert score(pool, indicators="mtld")[1].columns == ["row", "example", "mtld", "flags"]
    table = score(pool, indicators="mtld, len_in,mtld")[1]
    assert table.columns == ["row", "example", "mtld", "len_in", "flags"]
    assert table["len_in"].to_list() == [float(len(row["instruction"])) for row in POOL]


def test_what_is_stored_is_reused_and_the_bytes_are_the_same(score, pool, tmp_path):
    first, table = score(pool)
    assert "reused 0 of 5" in first.err
    written = (tmp_path / "scores.parquet").read_bytes()
    second, _ = score(pool)
    assert second.err.count("reused 5 of 5 rows") == 1
    assert (tmp_path / "scores.parquet").read_bytes() == written
    with pool.open("a") as handle:
        handle.write('{"instruction": "More.", "output": "one more"}\n')
    third, longer = score(pool)
    assert third.err.count("reused 5 of 6 rows") == 1
    assert longer.head(6).equals(table)
    assert longer.row(6)[2:] == (8.0, 2.0, [])


def test_a_store_of_its_own(score, pool, tmp_path):
    score(pool, "--store", tmp_path / "mine")
    assert list((tmp_path / "mine").glob("mtld-*/*.parquet"))
    assert "reused 0 of 5" in score(pool)[0].err
    assert "reused 5 of 5" in score(pool, "--store", tmp_path / "mine")[0].err


def test_every_container_gives_the_same_values(score, pool, tmp_path):
    _, wanted = score(pool)
    containers = {
        "pool.json": json.dumps(POOL).encode(),
        "pool.jsonl.gz": gzip.compress(pool.read_bytes()),
    }
    for name, content in containers.items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(pa.Table.from_pylist(POOL), tmp_path / "pool.parquet")
    with (tmp_path / "pool.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["instruction", "output"])
        writer.writeheader()
        writer.writerows(POOL)
    for name in [*containers, "pool.parquet", "pool.csv"]:
        ended, table = score(tmp_path / name)
        assert ended.code == 0, ended.err
        assert table.equals(wanted), name


def test_columns_and_format_can_be_named(score, tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"q": "Why?", "a": "Because so.", "instruction": "Go.", "output": "no"}\n')
    assert score(path)[1]["len_out"].to_list() == [2.0]
    _, table = score(path, "--columns", "instruction=q,response=a")
    assert table["len_out"].to_list() == [11.0]
    assert "--columns 'q'" in score(path, "--columns", "q")[0].error
    assert "has no column 'b'" in score(path, "--columns", "response=b")[0].error
    assert "no role" in score(path, "--columns", "answr=a")[0].error
    assert "sharegpt" in score(path, "--format", "sharegtp")[0].error
    assert "no record is in the format" in score(path, "--format", "sharegpt")[0].error
    assert "--split" in score(path, "--split", "train")[0].error


def test_a_response_without_a_word_is_flagged(score, tmp_path):
    path = tmp_path / "pool.jsonl"
    rows = [{"instruction": "Draw.", "output": text} for text in ("?!", "a b", "?!")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, table = score(path)
    assert table["mtld"].to_list() == [None, 2.0, None]
    assert table["len_out"].to_list() == [2.0, 3.0, 2.0]
    assert table["flags"].to_list() == [["undefined:mtld"], [], ["undefined:mtld", "duplicate"]]


@pytest.mark.parametrize(
    ("indicators", "said"), [("mltd", "mtld"), ("", "no column named"), (",", "no column named")]
)
def test_an_unknown_column_is_one_line(score, pool, indicators, said):
    ended, table = score(pool, indicators=indicators)
    assert said in ended.error
    assert table is None


def test_a_model_that_is_not_there(score, pool, run, tmp_path):
    assert "instructmining download" in score(pool, lm="smollm2-135m-instruct")[0].error
    (tmp_path / "empty").mkdir()
    assert "holds no weights" in score(pool, lm=tmp_path / "empty")[0].error
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"x")
    assert "no tokenizer.json" in score(pool, lm=tmp_path / "empty")[0].error
    (tmp_path / "empty" / "tokenizer.json").write_text("{")
    assert "tokenizer.json" in score(pool, lm=tmp_path / "empty")[0].error
    assert "no such folder" in score(pool, lm=tmp_path / "absent" / "model")[0].error


def test_model_free_columns_load_no_torch(pool, byte_tokenizer, tmp_path):
    words = ["score", pool, "-o", tmp_path / "s", "--indicators", COLUMNS, "--lm", byte_tokenizer]
    words += ["--store", tmp_path / "store"]
    code = (
        "import sys\n"
        "from instructmining.cli.main import main\n"
        "try:\n  main()\n"
        "finally:\n  print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "set()"
    assert pl.read_parquet(tmp_path / "s")["len_out"].to_list() == LENGTHS


def test_the_last_shard_writes_the_table(run, pool, tmp_path):
    asked = ["score", pool, "--indicators", "mtld", "--store", tmp_path / "store"]
    # So few rows are one chunk, the first shard's.
    second = run(*asked, "-o", tmp_path / "second.parquet", "--shard", "2/2")
    assert second.code == 0, second.err
    assert "5 rows are left to other shards" in second.err
    assert not (tmp_path / "second.parquet").exists()
    first = run(*asked, "-o", tmp_path / "first.parquet", "--shard", "1/2")
    assert first.code == 0, first.err
    assert run(*asked[:-1], tmp_path / "alone", "-o", tmp_path / "alone.parquet").code == 0
    table, alone = (pl.read_parquet(tmp_path / f"{n}.parquet") for n in ("first", "alone"))
    assert table.equals(alone)
    refused = run(*asked, "-o", tmp_path / "x.parquet", "--shard", "3/2")
    assert refused.code == 2
