from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from instructmining.examples import Example, Turn
from instructmining.report.summary import (
    PREVIEW_CHARACTERS,
    one_line,
    preview_rows,
    summarise_selection,
)
from instructmining.selection.budget import Fraction, Rows
from instructmining.selection.quota import group_rows, parse_quota
from instructmining.selection.select import Limits, load_decisions, select_rows
from instructmining.selection.spacing import Spacing

N = 40
METADATA = {
    "pool": "pool.jsonl",
    "rule": "small",
    "status": "pilot",
    "mismatches": ["ppl was scored with another model"],
    "out_of_range": {"nll": 3},
}


@pytest.fixture(scope="module")
def scores():
    nll = [float(i) for i in range(N - 2)] + [None, None]
    return pl.DataFrame(
        {
            "row": np.arange(N),
            "example": [f"{0 if i == 5 else i:032x}" for i in range(N)],  # 5 repeats 0
            "len_out": [float(100 - i) for i in range(N - 2)] + [None, None],
            "nll": nll,
            "constant": [1.0] * N,
            "note": ["text"] * N,
            "flags": [["empty_response", "odd"] if i >= N - 2 else ["odd"] if i == 3 else []
                      for i in range(N)],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def selection(scores):
    nll = scores["nll"].fill_null(np.nan).to_numpy()
    parts = pl.DataFrame({"nll": 0.1 * (nll - np.nanmean(nll))})
    return select_rows(scores, 0.1 * nll, Rows(10), contributions=parts, rule_columns=["nll"])


def preview(row):
    return Example(row, (Turn("user", f"question {row}"),), f"answer\n{row}")


@pytest.fixture(scope="module")
def summary(scores, selection):
    return summarise_selection(
        scores, selection.decisions, selection.metadata(METADATA), previews=preview
    )


def test_rows_are_counted(summary):
    assert (summary.n_pool, summary.n_scored, summary.n_unscored) == (N, N - 2, 2)
    assert (summary.n_duplicates, summary.n_flagged, summary.n_kept) == (1, 3, 10)
    assert summary.flags == {"odd": 3, "empty_response": 2}
    assert summary.reasons == {"budget": 27, "selected": 10, "unscored:nll": 2, "duplicate": 1}
    assert sum(summary.reasons.values()) == N


def test_quartiles_are_numpys(summary, scores, selection):
    nll = next(one for one in summary.indicators if one.column == "nll")
    values = scores["nll"].drop_nulls().to_numpy()
    kept = scores["nll"].to_numpy()[selection.kept_rows]
    for spread, expected in ((nll.pool, values), (nll.selection, kept)):
        points = [spread.minimum, spread.q25, spread.median, spread.q75, spread.maximum]
        assert points == np.quantile(expected, [0, 0.25, 0.5, 0.75, 1]).tolist()
        assert spread.n == len(expected)
    assert nll.pool.n_null == 2
    assert nll.selection.n_null == 0
    assert nll.out_of_range == 3


def test_columns_of_the_rule_come_first_and_text_columns_are_left_out(summary):
    assert [one.column for one in summary.indicators] == ["nll", "len_out", "constant"]
    assert [one.in_rule for one in summary.indicators] == [True, False, False]


def test_best_and_worst_rows_are_quoted(summary, selection):
    assert [one.row for one in summary.best] == [0, 1, 2, 3, 4]
    assert [one.row for one in summary.worst] == [37, 36, 35, 34, 33]
    assert summary.best[1].prompt == "question 1"
    assert summary.best[1].response == "answer 1"
    assert [one.kept for one in summary.worst] == [False] * 5
    assert preview_rows(selection.decisions) == (0, 1, 2, 3, 4, 33, 34, 35, 36, 37)


def test_only_the_named_rows_are_read(scores, selection):
    asked = []

    def record(row):
        asked.append(row)
        return preview(row)

    summarise_selection(scores, selection.decisions, {}, record)
    assert tuple(sorted(asked)) == preview_rows(selection.decisions)
    texts = {row: ("q", "a") for row in preview_rows(selection.decisions)}
    assert summarise_selection(scores, selection.decisions, {}, texts).best[0].prompt == "q"


def test_no_row_stands_in_both_lists(scores):
    small = scores.head(8)
    selection = select_rows(
        small, np.arange(8.0), Fraction(1.0), contributions=None, rule_columns=["nll"]
    )
    summary = summarise_selection(small, selection.decisions, {}, preview)
    assert len(summary.best) == 5
    assert [one.row for one in summary.worst] == [7, 6]  # row 5 is a duplicate


def test_overlap_with_keeping_the_longest(scores, selection, summary):
    # len_out falls with the row number, and so does quality: the same ten rows.
    assert (summary.longest.n, summary.longest.shared, summary.longest.share) == (10, 10, 1.0)
    longer = scores.with_columns(len_out=-pl.col("len_out"))
    opposite = summarise_selection(longer, selection.decisions, {}, preview)
    assert (opposite.longest.shared, opposite.longest.share) == (0, 0.0)
    absent = summarise_selection(scores.drop("len_out"), selection.decisions, {}, preview)
    assert absent.longest is None


def test_pilot_and_mismatch_are_said(summary):
    assert summary.rule_label == "small (pilot)"
    assert "rule small (pilot)" in summary.headline
    assert "Kept 10 of 40 rows of pool.jsonl" in summary.headline
    assert "ppl was scored with another model" in summary.notes


def test_json_is_plain_and_whole(summary):
    plain = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert plain["kind"] == "select"
    assert plain["headline"] == summary.headline
    assert plain["longest"] == {"n": 10, "shared": 10, "share": 1.0}
    assert plain["indicators"][0]["pool"]["n_null"] == 2
    assert plain["budget"]["text"] == "10 rows"
    assert plain["best"][0]["rank"] == 1


def test_summary_of_stored_decisions_is_the_same(tmp_path, scores, selection, summary):
    selection.save_decisions(tmp_path / "d.parquet", METADATA)
    again = summarise_selection(scores, *load_decisions(tmp_path / "d.parquet"), preview)
    assert again.to_json() == summary.to_json()


def test_infinite_and_nan_values_do_not_enter_quartiles(scores, selection):
    nll = pl.Series("nll", [float("inf"), float("nan"), None, *range(N - 3)], dtype=pl.Float64)
    summary = summarise_selection(scores.with_columns(nll), selection.decisions, {}, preview)
    spread = next(one.pool for one in summary.indicators if one.column == "nll")
    assert (spread.maximum, spread.n, spread.n_null) == (N - 4.0, N - 3, 3)


def test_nothing_kept_is_summarised_too(scores):
    none = scores.with_columns(nll=pl.lit(None, dtype=pl.Float64))
    selection = select_rows(
        none, np.full(N, np.nan), Rows(3), contributions=None, rule_columns=["nll"]
    )
    summary = summarise_selection(none, selection.decisions, selection.metadata(), {})
    assert (summary.n_kept, summary.best, summary.worst) == (0, (), ())
    assert summary.indicators[0].pool.median is None
    assert summary.longest.share == 0.0
    json.dumps(summary.to_json(), allow_nan=False)


def test_text_is_clipped_to_a_line():
    assert one_line(" two\r\n\t words\u2028") == "two words"
    assert one_line("x" * PREVIEW_CHARACTERS) == "x" * PREVIEW_CHARACTERS
    clipped = one_line("x" * 200_000)
    assert len(clipped) == PREVIEW_CHARACTERS
    assert clipped.endswith("…")
    assert one_line("a" + " " * 200_000 + "b") == "a…"


def test_groups_and_distance_are_counted(scores, tmp_path):
    few = scores.head(12)
    nll = few["nll"].to_numpy()
    records = [{"task": None if row % 4 == 3 else "ab"[row % 2]} for row in range(12)]
    around = np.radians(np.arange(12.0) * 30)
    around[4] = around[2]
    chosen = select_rows(
        few,
        nll,
        Rows(6),
        contributions=None,
        rule_columns=["nll"],
        limits=Limits(
            Spacing(0.1, np.stack([np.cos(around), np.sin(around)], axis=1)),
            group_rows(records, parse_quota("task=a:50%")),
        ),
    )
    metadata = {**METADATA, **chosen.metadata()}
    summary = summarise_selection(few, chosen.decisions, metadata, preview)
    assert "budget 6 rows shared by task, no two rows nearer than 0.1." in summary.headline
    assert (summary.min_distance, summary.quota) == (0.1, "task")
    assert [(g.name, g.n_pool, g.share, g.n_kept) for g in summary.groups] == [
        ("a", 6, 3, 3), ("b", 3, 2, 2), (None, 3, 1, 1),
    ]  # fmt: skip
    assert sum(g.weight for g in summary.groups) == pytest.approx(1)
    assert summary.reasons["near"] == 1
    assert sum(summary.reasons.values()) == 12
    json.dumps(summary.to_json(), allow_nan=False)
    chosen.save_decisions(tmp_path / "d.parquet", METADATA)
    again = summarise_selection(few, *load_decisions(tmp_path / "d.parquet"), preview)
    assert again.groups == summary.groups


def test_without_quota_and_distance_nothing_is_said_of_them(summary):
    assert summary.headline.endswith("budget 10 rows.")
    assert (summary.min_distance, summary.quota, summary.groups) == (None, None, ())
