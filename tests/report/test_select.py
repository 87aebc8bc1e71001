from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from instructmining.report.select import inert, number, render_explanation, render_summary
from instructmining.report.summary import GroupSummary, preview_rows, summarise_selection
from instructmining.selection.budget import Rows
from instructmining.selection.explain import explain
from instructmining.selection.select import select_rows

N = 300
METADATA = {
    "pool": "my [bold]pool[/bold].jsonl",
    "rule": "small",
    "status": "pilot",
    "out_of_range": {"nll": 4},
}
HOSTILE = "[red]x[/red] \x1b[31mred\x07 \u202eevil\u2069 [link=http://a]b[/link] \x9b2J \udcff [/]"


@pytest.fixture(scope="module")
def selection_and_scores():
    rng = np.random.default_rng(0)
    columns = {
        name: rng.uniform(0, scale, N)
        for name, scale in
        [("len_out", 30000), ("nll", 5), ("mtld", 200), ("knn_6", 2), ("tiny", 1e-5)]
    }  # fmt: skip
    scores = pl.DataFrame(
        {
            "row": np.arange(N),
            "example": [f"{i:032x}" for i in range(N)],
            **columns,
            "flags": [["[blink]odd"] if i % 9 == 0 else [] for i in range(N)],
        },
        schema_overrides={"flags": pl.List(pl.String)},
    )
    parts = scores.select(nll=0.1 * (pl.col("nll") - pl.col("nll").mean()))
    selection = select_rows(
        scores, 1 + parts["nll"].to_numpy(), Rows(30), contributions=parts, rule_columns=["nll"]
    )
    return selection, scores


@pytest.fixture(scope="module")
def summary(selection_and_scores):
    selection, scores = selection_and_scores
    texts = {row: (HOSTILE, f"答え {row} 👩‍👩‍👧 café") for row in preview_rows(selection.decisions)}
    return summarise_selection(scores, selection.decisions, selection.metadata(METADATA), texts)


def printed(renderable, width, **options):
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(renderable)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(summary, width):
    text = printed(render_summary(summary), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_every_figure_is_there_and_rows_take_one_line_each(summary, width):
    text = printed(render_summary(summary), width)
    flat = " ".join(text.split())
    assert "Kept 30 of 300 rows" in flat
    assert "rule small (pilot)" in flat
    assert "the rule is a pilot" in flat
    assert "longest responses" in flat
    lines = text.splitlines()
    for one in (*summary.best, *summary.worst):
        assert sum(line.split()[:1] == [str(one.row)] for line in lines) == 1
    for one in summary.indicators:
        line = next(line for line in lines if line.startswith(one.column))
        assert number(one.pool.median) in line
        assert "…" not in line
    assert "(all kept)" in text
    assert "(all dropped)" in text


@pytest.mark.parametrize("colour", [True, False])
def test_texts_from_the_data_are_inert(summary, colour):
    options = {"force_terminal": True, "color_system": "truecolor" if colour else None}
    text = printed(render_summary(summary), 200, **options)
    assert "[red]x[/red] \\x1b[31mred\\x07 \\u202eevil\\u2069 [link=http://a]b" in text
    assert "my [bold]pool[/bold].jsonl" in text
    assert "[blink]odd" in text
    assert "\x1b[31m" not in text
    assert "\x1b]8;" not in text
    for character in "\x07\x9b\u202e\u2069":
        assert character not in text
    text.encode("utf-8")


def test_scripts_and_joined_emoji_stay_as_they_are():
    text = "नमस्ते می\u200cخواهم 👩\u200d👩\u200d👧 日本"
    assert inert(text).plain == text


def test_mixed_verdicts_are_told_row_by_row(summary):
    best = (summary.best[0], replace(summary.best[1], kept=False))
    text = printed(render_summary(replace(summary, best=best)), 100)
    line = next(x for x in text.splitlines() if x.split()[:1] == [str(best[1].row)])
    assert "dropped" in line


def test_rule_that_is_no_pilot_is_not_called_one(summary):
    fitted = replace(summary, rule="full", status="fitted", rule_label="full (fitted)")
    assert "pilot" not in printed(render_summary(fitted), 80)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (5.0, "5"), (986.5, "986.5"), (12345.6, "12,346"),
     (0.30519, "0.305"), (69.634, "69.63"), (0.00001234, "1.23e-05"), (-1.5, "-1.500"),
     (2e10, "2.00e+10")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_baseline_is_said_to_give_a_score(selection_and_scores):
    selection, scores = selection_and_scores
    metadata = selection.metadata({"rule": "longest", "status": "baseline"})
    texts = dict.fromkeys(preview_rows(selection.decisions), ("q", "a"))
    summary = summarise_selection(scores, selection.decisions, metadata, texts)
    for shown in (
        render_summary(summary),
        render_explanation(explain(selection.decisions, metadata, 0)),
    ):
        text = printed(shown, 120)
        assert "predicted score" in text
        assert "log loss" not in text


def test_explanation_shows_the_sum(selection_and_scores):
    selection, _ = selection_and_scores
    best = int(selection.kept_by_rank[0])
    explanation = explain(selection.decisions, selection.metadata(METADATA), best)
    text = printed(render_explanation(explanation), 80)
    assert "Kept: rank 1 of 300" in " ".join(text.split())
    assert "small (pilot)" in text
    assert f"{explanation.predicted:.4f}" in text
    assert f"{explanation.contributions[0].contribution:+.4f}" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_explanation_without_numbers_has_no_table(selection_and_scores):
    selection, _ = selection_and_scores
    explanation = explain(selection.decisions, {}, 0)
    bare = replace(explanation, predicted=None, contributions=())
    assert "this row" not in printed(render_explanation(bare), 80)


@pytest.mark.parametrize("width", [60, 100])
def test_groups_are_listed_largest_first_and_the_small_ones_together(summary, width):
    groups = [GroupSummary(f"task [bold]{n}", 100 - n, n, 0.01, 2 * n, n) for n in range(30)]
    hostile = [GroupSummary(None, 500, 7, 0.5, 9, 7), GroupSummary(HOSTILE, 400, 1, 0.2, 1, 1)]
    shown = replace(summary, quota="task\x1b", groups=(*groups, *hostile))
    text = printed(render_summary(shown), width)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Budget by task\\x1b" in lines
    largest, next_one = "(none) 500 50.0% 9 7 7", "task [bold]0 100 1.0% 0 0 0"
    assert lines.index(largest) < lines.index(next_one)
    assert "12 smaller groups 918 12.0% 564 282 282" in lines
    assert "\x1b" not in text and "\u202e" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= width
