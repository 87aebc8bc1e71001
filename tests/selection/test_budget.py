from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.selection.budget import (
    Fraction,
    Rows,
    Tokens,
    parse_keep,
    parse_keep_tokens,
    resolve,
)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("1000", Rows(1000)),
        (" 1000 ", Rows(1000)),
        ("1", Rows(1)),
        ("1.0", Fraction(1.0)),
        ("1.", Fraction(1.0)),
        ("100%", Fraction(1.0)),
        ("0.1", Fraction(0.1)),
        (".1", Fraction(0.1)),
        ("10%", Fraction(0.1)),
        ("10 %", Fraction(0.1)),
        ("2.5%", Fraction(0.025)),
        (7, Rows(7)),
        (1, Rows(1)),
        (1.0, Fraction(1.0)),
    ],
)
def test_keep_is_read_as_rows_or_share(text, budget):
    assert parse_keep(text) == budget
    assert type(parse_keep(text)) is type(budget)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.0", "0%", "-5", "1.5", "101%", "ten", "1e3", "1_000", "nan", "5 0", "%", ".",
     "٣", "1k", "9" * 5000, "0." + "0" * 400 + "1", 0, -1, 0.0, 1.5, float("nan"), True],
)  # fmt: skip
def test_bad_keep_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="wanted a number of rows") as caught:
        parse_keep(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "n"),
    [("200k", 200_000), ("1.5M", 1_500_000), ("0.5k", 500), ("123", 123), (64, 64)],
)
def test_tokens_are_read(text, n):
    assert parse_keep_tokens(text) == Tokens(n)


@pytest.mark.parametrize("text", ["", "0", "0k", "1.5", "0.0001k", "k", "5G", "5K", "-3", "10%"])
def test_bad_tokens_are_refused_in_one_line(text):
    with pytest.raises(InputError, match="wanted a number of tokens") as caught:
        parse_keep_tokens(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("share", "pool", "rows"),
    [
        (0.1, 45, 5),  # 4.5, half up
        (0.145, 100, 15),  # 14.5; the binary product is 14.499999999999998
        (0.1, 44, 4),
        (0.001, 10, 1),  # never less than one row
        (1.0, 7, 7),
        (0.025, 5000, 125),
    ],
)
def test_share_is_rounded_half_up_to_at_least_one_row(share, pool, rows):
    assert resolve(Fraction(share), pool) == rows


def test_tokens_stop_at_the_first_row_that_would_exceed():
    lengths = np.array([5.0, 5.0, 50.0, 1.0])
    assert resolve(Tokens(10), 4, lengths) == 2
    assert resolve(Tokens(11), 4, lengths) == 2  # the short last row is not slipped in
    assert resolve(Tokens(60), 4, lengths) == 3
    assert resolve(Tokens(61), 4, lengths) == 4
    assert resolve(Tokens(4), 4, lengths) == 0


def test_tokens_need_lengths():
    with pytest.raises(InputError, match="len"):
        resolve(Tokens(10), 4)


@given(st.floats(min_value=1e-6, max_value=1.0), st.integers(1, 10**7))
def test_share_is_within_half_a_row(share, pool):
    rows = resolve(Fraction(share), pool)
    assert 1 <= rows <= pool
    assert rows == 1 or abs(rows - share * pool) <= 0.5 + 1e-6


def test_budgets_name_themselves():
    texts = [str(b) for b in (Rows(1), Rows(1000), Fraction(0.025), Tokens(200_000))]
    assert texts == ["1 row", "1,000 rows", "2.5% of the pool", "200,000 tokens"]
    assert Fraction(0.07).to_json() == {"kind": "fraction", "f": 0.07, "text": "7% of the pool"}
