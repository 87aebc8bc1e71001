"""The Python API, end to end on columns that run no model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import instructmining
from instructmining import Scoring, load_examples, load_rule, score, select
from instructmining.api import open_store
from instructmining.errors import (
    DefinitionMismatch,
    InputError,
    ModelError,
    RuleError,
    StoreError,
)
from instructmining.formats import open_pool
from instructmining.rules.rule import Rule
from instructmining.scoring.engine import Engine
from instructmining.scoring.table import ScoreTable
from instructmining.selection.select import load_decisions
from instructmining.selection.spacing import DEFAULT_DISTANCE
from scoring.word_model import save_word_model

#: Responses of 3, 1, 5, 0, 2, 4 and again 5 words, written as no serialiser would.
LINES = [
    b'{"instruction":"a","output":"one two three"}\n',
    b'{ "output" : "one", "instruction" : "b", "extra": [1.0, 1e3] }\n',
    b'{"instruction": "c", "output": "caf\\u00e9 two three four five"}\n',
    b'{"instruction": "d", "output": ""}\n',
    '{"instruction": "é", "output": "one\\ttwo"}\n'.encode(),
    b'{"instruction": "f", "input": "g", "output": "one two three four", "id": 1234567890123456}\n',
    b'{"instruction": "c", "output": "caf\\u00e9 two three four five", "source": "copy"}\n',
]
RECORDS = [json.loads(line) for line in LINES]
WORDS = [3, 1, 5, None, 2, 4, 5]
#: Rows from the longest response to the shortest that can be kept.
RANKED = [2, 5, 0, 4, 1]


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


@pytest.fixture
def how(tmp_path):
    return Scoring(lm=str(save_word_model(tmp_path / "model")), store=tmp_path / "store")


@pytest.fixture
def longest(pool, how):
    """Select by the rule `longest`."""

    def run(source=pool, *, scoring=how, **options):
        return select(source, "longest", scoring=scoring, **options)

    return run


def dataset():
    datasets = pytest.importorskip("datasets")
    keys = ("instruction", "input", "output")
    return datasets.Dataset.from_list([{k: r.get(k, "") for k in keys} for r in RECORDS])


def table(module, kind):
    """The records, in a table of another library."""
    columns = {key: [r.get(key, "") for r in RECORDS] for key in ("instruction", "input", "output")}
    return getattr(pytest.importorskip(module), kind)(columns)


@pytest.mark.parametrize(
    "kind", ["path", "text", "list", "pool", "dataset", "polars", "pandas", "pyarrow"]
)
def test_every_kind_of_source_gives_the_same_rows(pool, how, kind):
    source = {
        "path": lambda: pool,
        "text": lambda: str(pool),
        "list": lambda: RECORDS,
        "pool": lambda: open_pool(pool),
        "dataset": dataset,
        "polars": lambda: table("polars", "DataFrame"),
        "pandas": lambda: table("pandas", "DataFrame"),
        "pyarrow": lambda: table("pyarrow", "table"),
    }[kind]()
    examples = load_examples(source)
    assert [example.row for example in examples] == list(range(7))
    assert [example.response for example in examples] == [r["output"] for r in RECORDS]
    frame = score(source, ["len_out"], scoring=how).frame
    assert frame["len_out"].to_list() == WORDS
    assert frame["example"].to_list() == [example.digest for example in load_examples(pool)]
    best = select(source, "longest", keep=3, scoring=how)
    assert best.selection.kept_rows.tolist() == [0, 2, 5]
    assert [r["output"] for r in best.records] == [RECORDS[row]["output"] for row in (0, 2, 5)]
    assert type(best.kept) is (list if kind in ("path", "text", "pool") else type(source))
    assert load_examples(best.kept)[1].digest == examples[2].digest


def test_examples_themselves_can_be_scored(pool, how):
    examples = load_examples(pool)
    table = score(examples, ("mtld", "len_out"), scoring=how)
    assert table.columns == ("mtld", "len_out")
    assert table.frame["len_out"].to_list() == WORDS


def test_options_of_a_source_are_passed_on():
    records = [{"q": "a", "a": "b"}]
    (example,) = load_examples(records, columns={"instruction": "q", "response": "a"})
    assert (example.prompt, example.response) == ("a", "b")


@pytest.mark.parametrize("source", [[], 3, "no/such/file.jsonl", {"instruction": "a"}])
def test_what_is_no_pool_is_one_line(source, how):
    with pytest.raises(InputError) as error:
        score(source, ["len_out"], scoring=how)
    assert "\n" not in str(error.value)


def test_unknown_column_is_refused_before_anything_is_read():
    with pytest.raises(InputError, match="did you mean 'mtld'"):
        score("no/such/file.jsonl", ["mtdl"])


def test_store_is_in_the_cache_folder_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path / "cache"))
    assert open_store().folder.path == tmp_path / "cache" / "store"
    assert open_store(tmp_path / "own").folder.path == tmp_path / "own"
    score(RECORDS, ["mtld"])
    assert list((tmp_path / "cache" / "store").glob("mtld-*/*.parquet"))


def test_rules_by_name_and_by_file(tmp_path):
    rule = load_rule("longest")
    rule.save(tmp_path / "own.json")
    assert isinstance(load_rule(tmp_path / "own.json"), Rule)
    assert load_rule(str(tmp_path / "own.json")).columns_ == ("len_out",)
    with pytest.raises(RuleError, match="did you mean longest"):
        load_rule("longst")


def test_kept_lines_come_back_byte_for_byte(longest, tmp_path):
    best = longest(keep=3)
    decisions = best.write(tmp_path / "best.jsonl")
    assert (tmp_path / "best.jsonl").read_bytes() == LINES[0] + LINES[2] + LINES[5]
    assert decisions == tmp_path / "best.jsonl.decisions.parquet"


def test_every_row_is_decided_with_a_reason(longest, tmp_path):
    best = longest(keep=3)
    frame, notes = load_decisions(best.write(tmp_path / "best.jsonl"))
    assert frame.equals(best.decisions, null_equal=True)
    assert frame["row"].to_list() == list(range(7))
    assert frame["rank"].to_list() == [3, 5, 1, None, 4, 2, None]
    assert frame["reason"].to_list() == [
        "selected", "budget", "selected", "unscored:len_out", "budget", "selected",
        "duplicate_of:2",
    ]  # fmt: skip
    assert frame["value:len_out"].to_list() == WORDS
    assert frame["predicted"].to_list() == [None if n is None else -n for n in WORDS]
    assert (notes["rule"], notes["pool"], notes["status"]) == ("longest", "pool", "baseline")
    # Contributions are against the mean of the rows that have a prediction.
    mean = sum(n for n in WORDS if n) / 6
    contributions = frame["contribution:len_out"].drop_nulls().to_list()
    assert contributions == pytest.approx([mean - n for n in WORDS if n])


def test_order_rank_writes_the_best_first(longest, tmp_path):
    best = longest(keep=4)
    best.write(tmp_path / "best.jsonl", order="rank")
    written = (tmp_path / "best.jsonl").read_bytes()
    assert written == b"".join(LINES[row] for row in RANKED[:4])
    with pytest.raises(InputError, match="order 'best': wanted input or rank"):
        best.write(tmp_path / "other.jsonl", order="best")
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.parametrize(
    ("budget", "n"),
    [
        ({"keep": 2}, 2),
        ({"keep": "2"}, 2),
        ({"keep": 1}, 1),
        ({"keep": 1.0}, 5),
        ({"keep": "100%"}, 5),
        ({"keep": 0.3}, 2),
        ({"keep": "30%"}, 2),
        ({"keep": 1000}, 5),
        ({"keep_tokens": 12}, 2),
        ({"keep_tokens": "0.012k"}, 2),
        ({"keep_tokens": 5}, 0),
    ],
)
def test_budgets(longest, budget, n):
    best = longest(**budget)
    assert best.selection.kept_by_rank.tolist() == RANKED[:n]
    assert best.decisions["kept"].sum() == n
    assert len(best.records) == n


@pytest.mark.parametrize(
    "budget", [{}, {"keep": 0}, {"keep": -1}, {"keep": 1.5}, {"keep": 2, "keep_tokens": 5}]
)
def test_budgets_that_cannot_be_meant(longest, budget):
    with pytest.raises(InputError):
        longest(**budget)


def test_scores_are_reused_without_a_model(pool, how, longest, tmp_path):
    wanted = longest(keep=3).decisions
    table = score(pool, ["len_out", "mtld"], scoring=how)
    table.save(tmp_path / "scores.parquet")
    nothing = Scoring(lm="./no/model", store=tmp_path / "unused")
    for scores in (table, tmp_path / "scores.parquet", str(tmp_path / "scores.parquet")):
        best = longest(keep=3, scores=scores, scoring=nothing)
        assert best.decisions.equals(wanted, null_equal=True)
    assert not (tmp_path / "unused").exists()


def test_scores_of_another_pool_are_refused(pool, how, longest, tmp_path):
    for other in (RECORDS[:6], RECORDS[::-1], [*RECORDS, RECORDS[0]]):
        table = score(other, ["len_out"], scoring=how)
        with pytest.raises(InputError, match="not of this pool") as error:
            longest(keep=3, scores=table)
        assert "\n" not in str(error.value)


def test_decisions_are_no_scores(longest, tmp_path):
    decisions = longest(keep=3).write(tmp_path / "best.jsonl")
    with pytest.raises(StoreError, match="not a score table"):
        longest(keep=3, scores=decisions)


def test_scores_without_the_column_are_refused(pool, how, longest):
    table = score(pool, ["mtld"], scoring=how)
    with pytest.raises(DefinitionMismatch, match="needs column len_out"):
        longest(keep=3, scores=table)


@pytest.fixture
def own_columns(pool, how):
    """A score table with the columns of the paper's rule, from models of one's own."""
    table = score(pool, ["len_out"], scoring=how)
    names = ("rew", "und_p", "nat_p", "coh_p")
    columns = [table.frame["len_out"].alias(name) / 10 for name in names]
    frame = table.frame.with_columns(columns).select("row", "example", *names, "flags")
    definitions = {name: {"indicator": name[:3], "model": "mine"} for name in names}
    return ScoreTable(frame, definitions)


def test_published_rule_refuses_columns_of_other_models(pool, own_columns):
    with pytest.raises(DefinitionMismatch) as error:
        select(pool, "instructmining-v2", keep=2, scores=own_columns)
    line = str(error.value)
    assert "\n" not in line
    for part in ("rew", "'mine'", "oasst-rm-2.1-pythia-1.4b", "--allow-mismatch"):
        assert part in line


def test_mismatch_that_is_allowed_is_said_aloud(pool, own_columns, tmp_path):
    best = select(pool, "instructmining-v2", keep=2, scores=own_columns, allow_mismatch=True)
    _, notes = load_decisions(best.write(tmp_path / "best.jsonl"))
    assert len(notes["mismatches"]) == 4
    assert "'mine'" in notes["mismatches"][0]
    assert any("'mine'" in note for note in best.summary.notes)
    assert best.summary.n_kept == 2


def before_and_after(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_output_that_exists_gives_way_to_a_finished_one_only(longest, tmp_path, monkeypatch):
    from instructmining.formats import jsonl

    out = tmp_path / "out"
    longest(keep=1).write(out / "best.jsonl")
    before = before_and_after(out)
    assert len(before) == 2
    whole = jsonl.write_lines

    def full_disk(lines, line_end, sink):
        sink.write(next(iter(lines)))
        sink.flush()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsonl, "write_lines", full_disk)
    with pytest.raises(InputError, match="No space left"):
        longest(keep=3).write(out / "best.jsonl")
    assert before_and_after(out) == before
    monkeypatch.setattr(jsonl, "write_lines", whole)
    longest(keep=3).write(out / "best.jsonl")
    after = before_and_after(out)
    assert set(after) == set(before)
    assert after["best.jsonl"] == LINES[0] + LINES[2] + LINES[5]


def test_pool_that_changes_meanwhile_is_not_written(longest, pool, tmp_path):
    out = tmp_path / "out"
    longest(keep=1).write(out / "best.jsonl")
    before = before_and_after(out)
    best = longest(keep=3)
    pool.write_bytes(b"".join(LINES[::-1]) + b"\n")
    with pytest.raises(InputError, match="was changed while it was being used"):
        best.write(out / "best.jsonl")
    assert before_and_after(out) == before


def test_summary_counts_every_row(longest):
    summary = longest(keep=3).summary
    assert sum(summary.reasons.values()) == summary.n_pool == 7
    assert (summary.n_kept, summary.n_unscored, summary.n_duplicates) == (3, 1, 1)
    assert [row.row for row in summary.best] == RANKED[: len(summary.best)]


def test_second_selection_uses_the_store(longest, pool, how, tmp_path):
    longest(keep=3)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")}
    assert stamps
    longest(keep=2)
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")}
    assert now == stamps


#: Of 1 to 6 words. Rows 1 and 4 differ in white space alone, which no tokenizer sees.
TASKS = [
    {"instruction": "a", "output": "one two three", "task": "prose"},
    {"instruction": "b", "output": "north east south west", "task": "prose"},
    {"instruction": "c", "output": "1 2 3 4 5", "task": "maths"},
    {"instruction": "d", "output": "x"},
    {"instruction": "b", "output": "north east  south west", "task": "maths"},
    {"instruction": "f", "output": "p q r s t u", "task": "prose"},
    {"instruction": "g", "output": "yes no", "task": "prose"},
    {"instruction": "h", "output": ""},
]


@pytest.fixture
def measuring(how, tmp_path):
    """How to score, with an encoder of two layers."""
    from models.tiny import save_encoder

    (tmp_path / "encoder").mkdir()
    return replace(how, encoder=str(save_encoder(tmp_path / "encoder")))


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_budget_is_shared_by_a_column_of_the_records(longest, tmp_path):
    best = longest(TASKS, keep=4, quota="task")
    assert best.selection.kept_by_rank.tolist() == [5, 2, 1, 3]
    assert best.records == [TASKS[row] for row in (1, 2, 3, 5)]
    assert best.decisions["group"].to_list() == [row.get("task") for row in TASKS]
    assert {g.name: (g.n_pool, g.n_kept) for g in best.summary.groups} == {
        "prose": (4, 2), "maths": (2, 1), None: (2, 1),
    }  # fmt: skip
    mostly = longest(TASKS, keep_tokens=12, quota="task=maths:100%")
    assert mostly.selection.kept_rows.tolist() == [2, 4]
    _, metadata = load_decisions(mostly.write(tmp_path / "out.jsonl"))
    assert metadata["params"]["quota"]["column"] == "task"


def test_quotas_speak_of_every_kind_of_source(pool, longest, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{"task": None, **row} for row in TASKS])
    pq.write_table(table, tmp_path / "tasks.parquet")
    table.to_pandas().to_csv(tmp_path / "tasks.csv", index=False)
    wanted = longest(TASKS, keep=4, quota="task").decisions.drop("example")
    for name in ("tasks.parquet", "tasks.csv"):
        found = longest(tmp_path / name, keep=4, quota="task").decisions.drop("example")
        assert found.equals(wanted, null_equal=True)
    by_file = longest(pool, keep=2, quota="source").summary
    assert {g.name for g in by_file.groups} == {"copy", None}


def test_rows_too_near_are_dropped_for_a_better_one(longest, measuring):
    best = longest(TASKS, keep=7, min_distance=1e-3, scoring=measuring)
    assert best.decisions["reason"].to_list() == [
        *["selected"] * 4, "near:1", *["selected"] * 2, "unscored:len_out",
    ]  # fmt: skip
    spacing = best.selection.params["spacing"]
    assert spacing["min_distance"] == 1e-3
    assert spacing["encoder"]["model"] == measuring.encoder
    assert "no two rows nearer than 0.001" in best.summary.headline
    assert "the other 1 that can be kept are nearer" in best.summary.notes[0]


def test_diverse_is_a_distance_by_default(longest, measuring):
    def distance(**asked):
        selection = longest(TASKS, keep=2, scoring=measuring, **asked).selection
        return selection.params.get("spacing", {}).get("min_distance")

    assert distance(diverse=True) == DEFAULT_DISTANCE
    assert distance(diverse=True, min_distance="0.2") == 0.2
    assert distance(diverse=False) is None


def test_rows_the_encoder_cannot_read_to_the_end_are_said_to_be_such(longest, measuring):
    texts = ["word " * 80 + end for end in ("one", "two two")]
    rows = [{"instruction": "a", "output": text} for text in texts]
    best = longest(rows, keep=2, min_distance=1e-3, scoring=measuring)
    assert best.decisions["reason"].to_list() == ["near:1", "selected"]
    assert best.summary.notes[-1].startswith("1 of the 1 rows dropped as too near are longer")


def test_embeddings_come_from_the_store(longest, measuring, tmp_path):
    from instructmining.models.encoder import EncoderPass

    score(TASKS, ["knn_1", "len_out", "mtld", "len_in", "len"], scoring=measuring)
    before = stamps(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderPass, "run", lambda self, items: pytest.fail("embedded again"))
        best = longest(TASKS, keep=3, min_distance=1e-3, scoring=measuring)
    assert len(best.records) == 3
    assert stamps(tmp_path / "store") == before


def test_embeddings_reach_every_row_that_has_a_response(measuring):
    models = measuring.models()
    found = Engine(open_store(measuring.store), models).embed([*load_examples(TASKS * 2)])
    assert found.values.shape == (7, 24)
    assert found.place.tolist() == [*range(7), -1] * 2
    assert not found.partial.any()
    assert found.definition["model"] == measuring.encoder


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"quota": "tsk"}, InputError, "did you mean 'task'"),
        ({"quota": "task=math:1"}, InputError, "did you mean 'maths'"),
        ({"quota": "task=maths"}, InputError, "has no share"),
        ({"min_distance": 3}, InputError, "above 0 and below 2"),
        ({"min_distance": "near"}, InputError, "above 0 and below 2"),
        ({"diverse": True}, ModelError, "no/such/encoder"),
        ({"divers": True}, TypeError, "unexpected keyword"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_scored(
    longest, how, tmp_path, asked, error, said
):
    with pytest.raises(error, match=said) as caught:
        longest(TASKS, keep=2, scoring=replace(how, encoder="./no/such/encoder"), **asked)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_records_stream_in_order_and_what_is_none_as_its_text(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_bytes(LINES[0] + b"not json\n" + LINES[5])
    assert list(open_pool(path).records()) == [RECORDS[0], "not json", RECORDS[5]]
    assert list(open_pool(RECORDS).records()) == RECORDS


def test_package_hands_out_the_api():
    from instructmining import api

    for name in instructmining.__all__:
        assert getattr(instructmining, name) is getattr(api, name)
