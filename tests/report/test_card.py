"""The card of exported rows: what it says, and that nothing in it can break out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from instructmining.api import Scoring, select
from instructmining.formats.push import Card
from instructmining.report.card import card_body, card_head
from instructmining.report.summary import SelectSummary, summarise_decisions
from scoring.word_model import save_word_model

ROWS = [{"instruction": f"Say {n}.", "output": "word " * n} for n in range(1, 21)]


@pytest.fixture
def selected(tmp_path):
    how = Scoring(lm=str(save_word_model(tmp_path / "model")), store=tmp_path / "store")
    return select(ROWS, "longest", keep=0.25, scoring=how)


@pytest.fixture
def plain() -> SelectSummary:
    return SelectSummary(
        pool="p",
        n_pool=1000,
        n_scored=990,
        n_unscored=10,
        n_duplicates=3,
        n_flagged=0,
        n_kept=50,
        flags={},
        reasons={},
        budget={"text": "5% of the pool"},
        rule="small",
        status="fitted",
        rule_label="small",
        quantity="log loss",
    )


def test_figures_are_those_of_the_decisions(plain):
    body = card_body("best", 49, "trl", plain, [])
    for line in ("| Budget | 5% of the pool |", "| Rows of the pool | 1,000 |", "49 rows of best"):
        assert line in body
    assert "Commands" not in body
    assert "Median" not in body


def test_what_came_from_outside_stays_text(plain):
    summary = replace(plain, rule_label="a|b\n<img src=x>", notes=("see <script>",))
    body = card_body("<b>|", 1, "trl", summary, [["select", "a```b"]])
    assert "<img" not in body
    assert "<script" not in body
    assert "| Rule | a\\|b &lt;img src=x> |" in body
    assert "\n````bash\nselect 'a```b'\n````" in body
    assert card_head("<b>", 'a"b.jsonl').splitlines()[3] == '  data_files: "a\\"b.jsonl"'


def test_folders_of_this_machine_are_not_told():
    words = [
        "instructmining",
        "compare",
        "/home/me/pool.jsonl",
        "--eval",
        "x=/home/me/e.jsonl",
        "a/b",
    ]
    body = card_body("best", 1, "trl", None, [words])
    assert "instructmining compare pool.jsonl --eval x=e.jsonl a/b" in body


def test_a_summary_of_decisions_alone_is_that_of_the_selection(selected):
    found = summarise_decisions(selected.decisions, selected.selection.metadata(selected._notes))
    whole = selected.summary
    assert found.indicators == tuple(one for one in whole.indicators if one.in_rule)
    assert found.best == ()
    assert replace(found, indicators=()) == replace(whole, indicators=(), best=(), worst=())


def test_a_card_is_written_anew_and_what_is_around_it_stays():
    card, again = Card("head", "one"), Card("other head", "two")
    first = card.onto(None)
    assert first.startswith("head\n\n<!-- instructmining")
    second = again.onto("before\n" + first + "after\n")
    assert "one" not in second
    assert second == "before\n" + first.replace("one", "two") + "after\n"
    assert again.onto("theirs").startswith("theirs\n\n<!-- instructmining")
    half = first.replace("<!-- instructmining: end mark -->", "")
    assert again.onto(half).startswith(half.rstrip())
