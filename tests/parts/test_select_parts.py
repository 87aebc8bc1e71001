"""A pool in parts gives the selection of the joined pool."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from instructmining.api.overlaps import OverlapSearch
from instructmining.errors import DefinitionMismatch, InputError
from instructmining.folders import DiskFolder
from instructmining.formats import open_pool
from instructmining.overlap.setting import OverlapSetting
from instructmining.parts import select as module
from instructmining.parts.job import Wanted
from instructmining.parts.pool import SCORES
from instructmining.parts.select import PartsSelection, select_parts
from instructmining.rules.rule import Rule
from instructmining.scoring.table import ScoreTable
from instructmining.selection.budget import Budget, Fraction, Rows, Tokens
from instructmining.selection.explain import explain
from instructmining.selection.intervals import Given, parse_intervals
from instructmining.selection.quota import group_rows, parse_quota
from instructmining.selection.select import (
    DECISIONS,
    Limits,
    Selection,
    load_decisions,
    select_rows,
)
from parts.pools import DEFINITIONS, MadePool, a_rule, make_pool

NOTHING = OverlapSetting()


def asked(
    budget: Budget, quota: str | None, setting: OverlapSetting = NOTHING, within: Given = ()
) -> Wanted:
    shares = None if quota is None else parse_quota(quota)
    return Wanted(budget, shares, setting, parse_intervals(within))


def joined(pool: MadePool, rule, wanted: Wanted) -> Selection:
    groups = overlaps = None
    if wanted.quota is not None:
        groups = group_rows(open_pool(pool.joined).records(), wanted.quota, "joined")
    if wanted.overlap.files:
        overlaps = OverlapSearch(wanted.overlap).among(open_pool(pool.joined), None)
    return select_rows(
        pool.frame,
        rule.predict_rows(pool.frame),
        wanted.budget,
        contributions=rule.contributions(pool.frame),
        rule_columns=list(rule.columns_),
        limits=Limits(None, groups, overlaps, wanted.intervals),
    )


def in_parts(pool: MadePool, rule, *what, **more) -> PartsSelection:
    """Select what `asked` makes of the arguments."""
    return select_parts(pool.parts, rule, asked(*what, **more), DiskFolder(pool.folder / "out"))


def decisions_of(pool: MadePool) -> pl.DataFrame:
    """Return the decisions on all parts with the rows numbered as in the joined pool."""
    first, found = 0, []
    begins = {}
    for part in pool.parts:
        frame, _ = load_decisions(pool.folder / "out" / (part.name + DECISIONS))
        begins[part.name] = first
        found.append((part.name, first, frame))
        first += frame.height
    numbered = []
    for name, begin, frame in found:
        reasons = []
        for reason in frame["reason"]:
            kind, _, where = reason.partition(":")
            if kind == "duplicate_of":
                other, _, row = where.rpartition(":")
                where = str(begins[other or name] + int(row))
            reasons.append(f"{kind}:{where}" if where else kind)
        numbered.append(
            frame.with_columns(
                row=pl.col("row") + begin, reason=pl.Series(reasons, dtype=pl.String)
            )
        )
    return pl.concat(numbered)


def check_alike(pool: MadePool, rule, *what, **more) -> PartsSelection:
    """Hold what comes in parts against the pool of all, for what `asked` makes of the arguments."""
    wanted = joined(pool, rule, asked(*what, **more))
    came = in_parts(pool, rule, *what, **more)
    decisions = decisions_of(pool)
    exact = [name for name in wanted.decisions.columns if not name.startswith("contribution:")]
    assert decisions.columns == wanted.decisions.columns
    assert decisions.select(exact).to_dicts() == wanted.decisions.select(exact).to_dicts()
    for name in set(decisions.columns) - {*exact}:
        np.testing.assert_allclose(
            decisions[name].fill_null(np.nan), wanted.decisions[name].fill_null(np.nan), atol=1e-12
        )
    assert came.reasons == wanted.reasons
    assert came.n_kept == len(wanted.kept_rows)
    assert tuple(came.facts["notes"]) == wanted.notes
    params = dict(came.facts["params"])
    assert params.pop("parts") == len(pool.parts)
    ranks = wanted.decisions.filter("kept")["rank"].to_list()
    assert params.pop("last_rank") == max(ranks, default=0)
    assert params == wanted.params
    kept = "".join((pool.folder / "out" / part.name).read_text() for part in pool.parts)
    lines = pool.joined.read_text().splitlines(keepends=True)
    assert kept == "".join(lines[row] for row in wanted.kept_rows)
    return came


QUOTAS = (None, "task", "task=task 1:40%", "task=task 0:0,task 2:30%", "task=:0")


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch):
    monkeypatch.setattr(module, "_BUCKET_ROWS", 7)


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_decided_as_the_pool_of_all(tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = [30, *rng.integers(1, 40, rng.integers(0, 5)).tolist()]
    pool = make_pool(tmp_path, sizes, seed, ties=seed % 3 == 0)
    n = int(rng.integers(1, 60))
    budget = (Rows(n), Tokens(20 * n), Fraction(n / 60))[seed % 3 - 1]
    check_alike(pool, a_rule(), budget, QUOTAS[seed % len(QUOTAS)])


def test_a_part_of_nothing_and_a_pool_of_one(tmp_path):
    check_alike(make_pool(tmp_path / "one", [12], 1), a_rule(), Rows(3), "task")
    # A file without a record is no pool by itself either.
    pool = make_pool(tmp_path / "none", [9, 5], 2)
    pool.parts[1].open().path.write_text("")
    with pytest.raises(InputError, match=r"part-1.*empty"):
        in_parts(pool, a_rule(), Rows(3), None)


@pytest.mark.parametrize("transform", ["identity", "log1p", "clip", "clip+log1p"])
def test_every_transform_is_the_one_of_the_pool(tmp_path, transform):
    rule = a_rule(nll=transform, mtld="identity")
    check_alike(make_pool(tmp_path, [25, 40, 3], 4), rule, Rows(20), None)


def test_copies_in_other_parts_name_the_part(tmp_path):
    pool = make_pool(tmp_path, [20, 20, 20], 5)
    in_parts(pool, a_rule(), Rows(5), None)
    decisions, metadata = load_decisions(tmp_path / "out" / f"part-2.jsonl{DECISIONS}")
    copies = decisions.filter(pl.col("reason").str.starts_with("duplicate_of:part-0.jsonl:"))
    row = copies["row"][0]
    original = int(copies["reason"][0].rpartition(":")[2])
    first, _ = load_decisions(tmp_path / "out" / f"part-0.jsonl{DECISIONS}")
    assert first["example"][original] == copies["example"][0]
    sentence = explain(decisions, metadata, row).sentence
    assert sentence == (
        f"Dropped: an exact duplicate of row {original} of part-0.jsonl, which came first."
    )


def test_an_explanation_speaks_of_the_whole_pool(tmp_path):
    pool = make_pool(tmp_path, [30, 30], 6)
    found = in_parts(pool, a_rule(), Rows(7), None)
    decisions, metadata = load_decisions(tmp_path / "out" / f"part-1.jsonl{DECISIONS}")
    dropped = decisions.filter(pl.col("reason") == "budget")["row"][0]
    told = explain(decisions, metadata, dropped)
    assert told.ranked_rows == found.facts["params"]["ranked_rows"] > decisions.height
    assert "ended at rank 7" in told.sentence


def test_without_the_column_source_every_part_is_one(tmp_path):
    pool = make_pool(tmp_path, [30, 10], 7)
    found = in_parts(pool, a_rule(), Rows(8), "source")
    shares = {one["group"]: one["share"] for one in found.facts["params"]["quota"]["groups"]}
    assert shares == {"part-0.jsonl": 6, "part-1.jsonl": 2}


def test_a_column_that_no_part_has_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no record has that column; did you mean 'task'"):
        in_parts(make_pool(tmp_path, [9, 9]), a_rule(), Rows(3), "tusk")


def test_a_column_that_one_part_has_is_enough(tmp_path):
    pool = make_pool(tmp_path, [9, 9], 3)
    lines = pool.parts[0].open().path.read_text().splitlines()
    bare = [{k: v for k, v in json.loads(line).items() if k != "task"} for line in lines]
    pool.parts[0].open().path.write_text("".join(json.dumps(one) + "\n" for one in bare))
    found = in_parts(pool, a_rule(), Rows(3), "task")
    rows = {one["group"]: one["rows"] for one in found.facts["params"]["quota"]["groups"]}
    assert rows[None] >= 9
    assert sum(rows.values()) == 18


def test_scores_of_another_file_are_refused_by_name(tmp_path):
    pool = make_pool(tmp_path, [9, 9])
    tables = [Path(f"{part.address}{SCORES}") for part in pool.parts]
    tables[1].write_bytes(tables[0].read_bytes())
    with pytest.raises(InputError, match=r"part-1\.jsonl: scores of 9 rows came that are not"):
        in_parts(pool, a_rule(), Rows(3), None)


def test_scores_defined_in_two_ways_are_refused(tmp_path):
    pool = make_pool(tmp_path, [9, 9, 9])
    path = Path(f"{pool.parts[2].address}{SCORES}")
    other = {**DEFINITIONS, "nll": {"indicator": "nll", "version": 2}}
    ScoreTable(ScoreTable.load(path).frame, other).save(path)
    with pytest.raises(InputError, match=r"part-2\.jsonl: its scores are defined otherwise"):
        in_parts(pool, a_rule(), Rows(3), None)


def test_a_rule_of_other_columns_is_refused(tmp_path):
    pool = make_pool(tmp_path, [9])
    rule = Rule(columns=["rew"]).fit(pl.DataFrame({"rew": [1.0, 2.0]}), [0.1, 0.2])
    with pytest.raises(DefinitionMismatch, match="rew"):
        in_parts(pool, rule, Rows(3), None)


def test_nothing_that_tasks_sent_each_other_is_left(tmp_path):
    pool = make_pool(tmp_path, [9, 9])
    in_parts(pool, a_rule(), Rows(3), None)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(part.name + end for part in pool.parts for end in ("", DECISIONS))


@pytest.mark.parametrize("similarity", [None, 0.7])
@pytest.mark.parametrize("copies", [0, 5])
def test_rows_that_overlap_an_evaluation_file_are_dropped(tmp_path, similarity, copies):
    pool = make_pool(tmp_path, [30, 25, 20], 8)
    lines = pool.joined.read_text().splitlines()
    if similarity is not None:
        pytest.importorskip("datasketch", reason="datasketch is not installed")
    taken = [json.loads(line) for line in lines[:: len(lines) // copies]] if copies else []
    other = {"instruction": "Name the winds of the sea.", "output": "North and south and west."}
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(o) + "\n" for o in [other, *taken]))
    setting = OverlapSetting((str(tmp_path / "eval.jsonl"),), similarity=similarity)
    found = check_alike(pool, a_rule(), Rows(9), "task", setting)
    assert (found.reasons.get("overlap:prompt", 0) > 0) == bool(copies)
    assert found.facts["exclude_overlap"] == [str(tmp_path / "eval.jsonl")]


@pytest.mark.parametrize("seed", range(6))
def test_rows_outside_an_interval_are_dropped_as_in_the_pool_of_all(tmp_path, seed):
    pool = make_pool(tmp_path, [30, 25, 20], seed)
    within = ("nll=:2.5", "len=10:40") if seed % 2 else {"mtld": (30.0, None)}
    found = check_alike(pool, a_rule(), Rows(200), QUOTAS[seed % len(QUOTAS)], within=within)
    assert found.reasons["outside:nll" if seed % 2 else "outside:mtld"] > 0


def test_an_evaluation_file_of_prompts_alone_is_one_for_parts_too(tmp_path):
    pool = make_pool(tmp_path, [30, 25], 8)
    question = json.loads(pool.joined.read_text().splitlines()[0])["instruction"]
    (tmp_path / "questions.jsonl").write_text(json.dumps({"question": question}) + "\n")
    setting = OverlapSetting((str(tmp_path / "questions.jsonl"),))
    found = check_alike(pool, a_rule(), Rows(9), None, setting)
    assert found.reasons["overlap:prompt"] >= 1
