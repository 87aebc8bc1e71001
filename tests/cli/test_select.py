"""`instructmining select` and `explain`, by the rule that needs no model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import POOL

DEMO_POOL = Path(__file__).parents[2] / "examples" / "demo_pool.jsonl"
#: Rows by length of the response; of the two of 5 bytes the earlier first, the copy nowhere.
RANKING = [0, 4, 2, 1, 3]


@pytest.fixture
def select(run, tmp_path, byte_tokenizer):
    """Select from a pool by `longest`; return what was said, the lines kept, the decisions."""

    def call(pool, *more, rule="longest", out="best.jsonl"):
        path = tmp_path / out
        ended = run("select", pool, "-o", path, "--rule", rule, *more, "--lm", byte_tokenizer)
        decisions = path.with_name(path.name + ".decisions.parquet")
        if ended.code:
            return ended, None, None
        return ended, path.read_bytes().splitlines(True), pl.read_parquet(decisions)

    return call


def kept_rows(decisions: pl.DataFrame) -> list[int]:
    return decisions.filter("kept")["row"].to_list()


def test_rows_outside_an_interval_are_not_kept_and_say_so(select, pool):
    ended, _, decisions = select(pool, "--keep", "5", "--within", "len_out=:16")
    assert ended.code == 0
    outside = decisions.filter(pl.col("reason") == "outside:len_out")
    assert outside["row"].to_list() == [0]
    assert outside["value:len_out"].to_list() == [25.0]
    assert "1 at len_out=:16" in ended.err + ended.out
    assert kept_rows(decisions) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("within", "said"),
    [("len_out", "wanted COLUMN=LOW:HIGH"), ("len_put=1:", "did you mean 'len_out'")],
)
def test_intervals_that_are_none_stop_before_anything_is_scored(select, pool, within, said):
    ended, _, _ = select(pool, "--keep", "2", "--within", within)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize(
    ("budget", "n"),
    [
        (["--keep", "2"], 2),
        (["--keep", "50%"], 3),
        (["--keep", "0.5"], 3),
        (["--keep", "1"], 1),
        (["--keep", "1.0"], 5),
        (["--keep", "100"], 5),
        (["--keep-tokens", "41"], 1),
        (["--keep-tokens", "70"], 2),
        (["--keep-tokens", "0.07k"], 2),
        (["--keep-tokens", "1M"], 5),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else None,
)
def test_budgets_keep_the_longest_as_they_came(select, pool, budget, n):
    ended, lines, decisions = select(pool, *budget)
    assert ended.code == 0
    chosen = sorted(RANKING[:n])
    source = pool.read_bytes().splitlines(True)
    assert lines == [source[row] for row in chosen]
    assert kept_rows(decisions) == chosen
    assert decisions["row"].to_list() == list(range(len(POOL)))
    assert decisions["rank"].to_list() == [1, 4, 3, 5, 2, None]
    assert decisions["reason"][5] == "duplicate_of:1"
    dropped = decisions.filter(~pl.col("kept") & pl.col("rank").is_not_null())
    assert set(dropped["reason"]) <= {"budget"}


def test_order_rank_writes_the_best_first(select, pool):
    _, lines, _ = select(pool, "--keep", "3", "--order", "rank")
    source = pool.read_bytes().splitlines(True)
    assert lines == [source[row] for row in RANKING[:3]]


def test_the_summary_is_on_stdout_and_talk_on_stderr(select, pool, tmp_path):
    ended, _, _ = select(pool, "--keep", "2")
    for word in ("longest", "pool", "dropped", "duplicate", "len_out*", "north, east"):
        assert word in ended.out
    assert f"rows kept: {tmp_path / 'best.jsonl'}\n" in ended.err
    assert f"decisions: {tmp_path / 'best.jsonl.decisions.parquet'}\n" in ended.err


def test_an_array_stays_an_array_and_parquet_parquet(select, tmp_path):
    array = tmp_path / "pool.json"
    array.write_text(json.dumps(POOL, indent=2))
    _, lines, _ = select(array, "--keep", "2", out="best.json")
    assert json.loads(b"".join(lines)) == [POOL[0], POOL[4]]
    table = pa.Table.from_pylist([{**row, "id": n} for n, row in enumerate(POOL)])
    pq.write_table(table, tmp_path / "pool.parquet")
    select(tmp_path / "pool.parquet", "--keep", "2", out="best.parquet")
    assert pq.read_table(tmp_path / "best.parquet").equals(table.take([0, 4]))


def test_a_second_run_gives_the_same_bits(select, pool, tmp_path):
    select(pool, "--keep", "3")
    decisions = tmp_path / "best.jsonl.decisions.parquet"
    first = decisions.read_bytes()
    ended, _, _ = select(pool, "--keep", "3")
    assert ended.err.count("reused 5 of 5 rows") == 1
    assert decisions.read_bytes() == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --keep or --keep-tokens"),
        (["--keep", "2", "--keep-tokens", "2k"], "both came"),
        (["--keep", "0"], "--keep '0'"),
        (["--keep", "-3"], "--keep '-3'"),
        (["--keep", "110%"], "--keep '110%'"),
        (["--keep", "many"], "--keep 'many'"),
        (["--keep-tokens", "0.5"], "--keep-tokens '0.5'"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else None,
)
def test_budgets_that_are_none(select, pool, tmp_path, words, said):
    assert said in select(pool, *words)[0].error
    assert not (tmp_path / "best.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quota", "tsk"], "no record has that column; did you mean 'task'?"),
        (["--quota", "task=north:20%"], "no row has the value 'north'; there are say, see"),
        (["--quota", "task=say:20"], "'20' is no share"),
        (["--quota", "task=say:70%,see:70%"], "come to 1.4"),
        (["--quota", ""], "no column named"),
        (["--min-distance", "0"], "--min-distance '0': wanted a distance"),
        (["--min-distance", "close"], "--min-distance 'close': wanted a distance"),
        (["--diverse", "--encoder", "./no/encoder"], "./no/encoder"),
        (["--min-distance", "0.2", "--encoder", "./no/encoder"], "./no/encoder"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else None,
)
def test_quotas_and_distances_that_are_none(select, tasks, tmp_path, words, said):
    ended, *_ = select(tasks, "--keep", "2", *words)
    assert said in ended.error
    assert " of 5 rows" not in ended.err
    assert not (tmp_path / "best.jsonl").exists()


@pytest.fixture
def tasks(tmp_path):
    """The rows of `POOL` with a column `task` that the third lacks."""
    path = tmp_path / "tasks.jsonl"
    tasks = ["see", "say", None, "say", "say", "say"]
    rows = [{**row, "task": task} for row, task in zip(POOL, tasks, strict=True)]
    del rows[2]["task"]
    path.write_text("".join(json.dumps(row, indent=None) + "\n" for row in rows))
    return path


def test_a_quota_shares_the_budget_and_lines_stay_as_they_came(run, select, tasks, tmp_path):
    ended, lines, decisions = select(tasks, "--keep", "3", "--quota", "task")
    assert ended.code == 0
    source = tasks.read_bytes().splitlines(True)
    assert lines == [source[row] for row in (0, 1, 4)]
    assert decisions["reason"].to_list() == [
        "selected", "selected", "quota", "budget", "selected", "duplicate_of:1",
    ]  # fmt: skip
    assert decisions["group"].to_list() == ["see", "say", None, "say", "say", "say"]
    for words in ("shared by task", "Budget by task", "(none)", "quota 1"):
        assert words in ended.out
    path = tmp_path / "best.jsonl.decisions.parquet"
    assert "rows without task had its share" in " ".join(run("explain", path, 2).out.split())
    named = select(tasks, "--keep-tokens", "60", "--quota", "task=see:60%,:40%")
    assert kept_rows(named[2]) == [2]  # row 0 alone has 40 tokens and its share is 36


def test_without_the_new_options_the_decisions_are_those_of_a_plain_pool(select, pool, tasks):
    _, _, plain = select(pool, "--keep", "3")
    _, _, same = select(tasks, "--keep", "3")
    assert same.equals(plain, null_equal=True)
    assert "group" not in plain.columns


def test_near_rows_are_dropped_by_the_encoder_named(run, select, tmp_path):
    from models.tiny import save_encoder

    (tmp_path / "encoder").mkdir()
    pool = tmp_path / "pool.jsonl"
    rows = [*POOL[:3], {"instruction": "Name the winds.", "output": "north,  east, south, west."}]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encoder = save_encoder(tmp_path / "encoder")
    words = ("--keep", "3", "--min-distance", "0.001", "--encoder", encoder)
    ended, _, decisions = select(pool, *words)
    assert ended.code == 0
    # The longer one, by a space, is ranked first.
    assert decisions["reason"].to_list() == ["near:3", "selected", "selected", "selected"]
    assert "near 1" in ended.out
    path = tmp_path / "best.jsonl.decisions.parquet"
    shown = " ".join(run("explain", path, 0).out.split())
    assert "nearer than 0.001 to row 3, which is kept at rank 1" in shown
    first = path.read_bytes()
    again, *_ = select(pool, *words)
    assert "embedding: reused 4 of 4 rows" in again.err
    assert path.read_bytes() == first


def test_an_unknown_rule_is_refused_before_any_work(select, pool):
    ended, _, _ = select(pool, "--keep", "2", rule="longset")
    assert "did you mean longest?" in ended.error
    assert "rows/s" not in ended.err and " of 5 rows" not in ended.err


def test_a_rule_that_reads_a_model_nobody_named(select, pool):
    error = select(pool, "--keep", "2", rule="instructmining-v2")[0].error
    assert "nat, coh, und: read a model that has to be named" in error
    assert "--evaluator NAME" in error


def test_scores_are_reused_without_a_model(run, select, pool, tmp_path, byte_tokenizer):
    scores = tmp_path / "scores.parquet"
    run("score", pool, "-o", scores, "--indicators", "len_out,mtld", "--lm", byte_tokenizer)
    out = tmp_path / "again.jsonl"
    words = ("select", pool, "-o", out, "--rule", "longest", "--scores", scores)
    ended = run(*words, "--keep", "2")
    assert ended.code == 0
    assert "rows/s" not in ended.err and " of 5 rows" not in ended.err
    _, lines, _ = select(pool, "--keep", "2")
    assert out.read_bytes().splitlines(True) == lines
    assert "'len'" in run(*words, "--keep-tokens", "50").error


def test_scores_of_something_else_are_refused(run, pool, tmp_path, byte_tokenizer):
    scores = tmp_path / "scores.parquet"
    run("score", pool, "-o", scores, "--indicators", "mtld", "--lm", byte_tokenizer)
    words = ("select", pool, "-o", tmp_path / "o", "--rule", "longest", "--keep", 2, "--scores")
    assert "len_out" in run(*words, scores).error
    with pool.open("a") as handle:
        handle.write(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    assert "not of this pool" in run(*words, scores).error
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.Table.from_pylist(POOL), foreign)
    assert str(foreign) in run(*words, foreign).error
    scores.write_bytes(scores.read_bytes()[:200])
    assert str(scores) in run(*words, scores).error
    for path in (tmp_path / "absent.parquet", tmp_path):
        assert str(path) in run(*words, path).error
    assert not (tmp_path / "o").exists()


def test_an_output_that_is_a_folder_or_below_a_file(select, pool, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "is a folder" in select(pool, "--keep", "2", out="folder")[0].error
    assert "cannot be written" in select(pool, "--keep", "2", out="pool.jsonl/best.jsonl")[0].error


def test_a_pool_in_which_nothing_can_be_kept(select, tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text('{"instruction": "a", "output": ""}\n{"instruction": "a", "output": null}\n')
    ended, lines, decisions = select(path, "--keep", "2")
    assert ended.code == 0
    assert lines == []
    assert decisions["reason"].to_list() == ["unscored:len_out"] * 2
    assert "kept all 0" in ended.out


def test_explain_shows_kept_dropped_and_copied_rows(run, select, pool, tmp_path):
    select(pool, "--keep", "2")
    decisions = tmp_path / "best.jsonl.decisions.parquet"
    kept = run("explain", decisions, 0)
    assert kept.code == 0
    assert "Kept: rank 1 of 5" in kept.out
    assert "len_out" in kept.out
    assert "Dropped" in run("explain", decisions, 3).out
    assert "row 1" in run("explain", decisions, 5).out.lower()
    plain = json.loads(run("explain", decisions, 4, "--json").out)
    (part,) = plain["contributions"]
    # Minus the length, against the mean over the pool's rows.
    assert (part["column"], part["value"]) == ("len_out", 16.0)
    assert plain["kept"] is True
    for row in (6, 10**30):
        assert f"{row}" in run("explain", decisions, row).error
    assert str(pool) in run("explain", pool, 0).error


def test_the_pool_itself_is_never_overwritten(select, pool):
    before = pool.read_bytes()
    ended, *_ = select(pool, "--keep", "2", out=pool)
    assert ended.code == 2
    assert "is the pool itself" in ended.err
    assert pool.read_bytes() == before


def test_rows_of_an_evaluation_file_are_never_kept(run, select, pool, tmp_path):
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text(json.dumps({"instruction": "Count.", "output": "1 2 3"}) + "\n")
    ended, _, decisions = select(pool, "--keep", "3", "--exclude-overlap", evaluation)
    assert ended.code == 0, ended.err
    assert decisions["reason"][4] == "overlap:prompt"
    assert decisions["overlap"][4] == "count"
    assert "1 of 6 rows overlap an evaluation file" in ended.out
    said = run("explain", tmp_path / "best.jsonl.decisions.parquet", "4")
    assert "its prompt is one of an evaluation file" in said.out


@pytest.fixture
def against(tmp_path):
    """The demo pool, and a file that row 29 nearly repeats, without a run of 13 words."""
    prompt = json.loads(DEMO_POOL.read_text(encoding="utf-8").splitlines()[29])["instruction"]
    nearly = prompt.replace("What", "What new").replace("trip", "long trip")
    evaluation = tmp_path / "evaluation.jsonl"
    rows = [{"instruction": text, "output": "ok"} for text in (nearly, "Nobody asked for this.")]
    evaluation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DEMO_POOL, evaluation


@pytest.mark.parametrize("action", ["drop", "flag"])
def test_near_duplicates_of_an_evaluation_file(run, select, against, tmp_path, action):
    pool, evaluation = against
    asked = ("--exclude-overlap", evaluation, "--overlap-similarity", "0.7", "--overlap", action)
    ended, lines, decisions = select(pool, "--keep", "1.0", *asked)
    assert ended.code == 0, ended.err
    source = pool.read_bytes().splitlines(True)
    found = decisions.filter(pl.col("overlap").is_not_null())
    assert found["row"].to_list() == [29]
    assert found["overlap"][0].startswith("my suitcase is always")
    said = " ".join(run("explain", tmp_path / "best.jsonl.decisions.parquet", "29").out.split())
    assert "it has most of its words in common with a text of an evaluation file" in said
    if action == "drop":
        assert found["reason"].to_list() == ["overlap:similar"]
        assert source[29] not in lines
        assert "Dropped: it has" in said
    else:
        assert found["reason"].to_list() == ["selected"]
        assert found["flags"][0].to_list()[-1] == "overlap:similar"
        assert source[29] in lines
        assert "within the budget of" in said
        assert "Flagged: it has" in said
        assert "overlap:similar" in ended.out
    manifest = json.loads((tmp_path / "best.jsonl.manifest.json").read_text())
    assert "evaluation.jsonl" in manifest["inputs"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--overlap-similarity", "0.7"], "--overlap-similarity without an evaluation file"),
        (["--overlap", "flag"], "--overlap flag without an evaluation file"),
        (["--exclude-overlap", "EVAL", "--overlap-similarity", "7"], "from 0.1 to 1"),
        (["--exclude-overlap", "EVAL", "--overlap-similarity", "0.7"], "instructmining[overlap]"),
    ],
)
def test_overlap_that_cannot_be_looked_for_is_one_line(select, against, monkeypatch, asked, said):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    pool, evaluation = against
    ended, *_ = select(pool, "--keep", "3", *(evaluation if a == "EVAL" else a for a in asked))
    assert said in ended.error
