"""Rows are kept only between the values asked for, and those that are not say so."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.selection.budget import Fraction, Rows
from instructmining.selection.explain import explain
from instructmining.selection.intervals import Interval, parse_intervals
from selection.pools import make_frame, select_by_nll


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("nat=-3:", [("nat", -3.0, math.inf)]),
        (["ifd=:1", " len_out = 10 : 4e2 "], [("ifd", -math.inf, 1.0), ("len_out", 10.0, 400.0)]),
        ({"nat": (-3, None), "ifd": (None, 1)}, [("nat", -3.0, math.inf), ("ifd", -math.inf, 1.0)]),
        ("nll=2:2", [("nll", 2.0, 2.0)]),
        ((), []),
    ],
)
def test_intervals_are_read(given, wanted):
    assert parse_intervals(given) == tuple(Interval(*one) for one in wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nat", "wanted COLUMN=LOW:HIGH"),
        ("nat=3", "wanted COLUMN=LOW:HIGH"),
        ("=1:2", "wanted COLUMN=LOW:HIGH"),
        ("nat=low:", "wanted COLUMN=LOW:HIGH"),
        ("nat=:", "nat=:: every value lies there"),
        ("nat=3:1", "nat=3:1: no value lies there"),
        ("nat=nan:", "no value lies there"),
        ("nat=inf:", "no value lies there"),
        (["nat=1:", "nat=:2"], "nat came with two intervals"),
    ],
)
def test_what_is_no_interval_is_refused_in_one_line(given, said):
    with pytest.raises(InputError) as caught:
        parse_intervals(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bounds_are_included_and_what_lies_beyond_is_never_kept_whatever_its_rank():
    frame = make_frame([0.0, 1.0, 2.0, 3.0, 4.0])
    selection = select_by_nll(frame, Rows(5), within="nll=1:3")
    assert selection.kept_rows.tolist() == [1, 2, 3]
    assert selection.decisions["reason"].to_list() == [
        "outside:nll", "selected", "selected", "selected", "outside:nll"
    ]  # fmt: skip
    assert selection.decisions["rank"].to_list() == [None, 1, 2, 3, None]
    assert selection.params["within"] == {"nll": [1.0, 3.0]}


def test_a_column_the_rule_does_not_read_is_shown_and_a_row_without_it_is_unscored():
    frame = make_frame([1.0, 2.0, 3.0], lengths=[5.0, None, 20.0])
    selection = select_by_nll(frame, Rows(3), within="len=10:")
    assert selection.decisions["reason"].to_list() == ["outside:len", "unscored:len", "selected"]
    assert selection.decisions["value:len"].to_list() == [5.0, None, 20.0]
    assert "contribution:len" not in selection.decisions.columns


def test_of_copies_none_takes_the_place_of_another():
    frame = make_frame([1.0, 1.0, 2.0], texts=[7, 7, 8])
    selection = select_by_nll(frame, Rows(3), within="nll=2:")
    assert selection.decisions["reason"].to_list() == ["outside:nll", "outside:nll", "selected"]


def test_a_budget_that_is_not_filled_names_the_interval():
    selection = select_by_nll(make_frame([1.0, 2.0, 3.0]), Rows(3), within="nll=:1.5")
    short, told = selection.notes
    assert short == (
        "asked for 3 rows; kept all 1 that can be kept "
        "(pool of 3: 0 duplicates, 0 unscored, 2 outside an interval)"
    )
    assert told == "never kept of 3 rows, for a value outside: 2 at nll=:1.5"


@pytest.mark.parametrize(
    ("within", "sentence"),
    [
        ("nll=1.5:", "Dropped: its nll is 0.3333 and was to be at least 1.5."),
        ("nll=1.5:8", "Dropped: its nll is 0.3333 and was to be at least 1.5 and at most 8."),
        ("nll=:0.25", "Dropped: its nll is 0.3333 and was to be at most 0.25."),
    ],
)
def test_why_a_row_lies_outside_is_a_sentence(within, sentence):
    selection = select_by_nll(make_frame([1 / 3, 2.0]), Rows(1), within=within)
    assert explain(selection.decisions, selection.metadata({}), 0).sentence == sentence


@given(
    st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=30),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted),
)
def test_an_interval_is_the_selection_from_the_rows_that_lie_in_it(nll, bounds):
    frame = make_frame(nll)
    inside = select_by_nll(frame, Fraction(1.0), within={"nll": tuple(bounds)})
    plain = select_by_nll(frame, Fraction(1.0)).decisions.filter("kept").sort("rank")
    wanted = plain.filter(pl.col("value:nll").is_between(*bounds))["row"].to_list()
    assert inside.kept_by_rank.tolist() == wanted
