"""Slips in one word: stems by hand, and what is left alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.heads.slips import is_function_word, is_long, mistyped, slips


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        *[("walked", "walk"), ("Walking,", "Walk,"), ("(running)", "(run)"), ("stopped", "stop")],
        *[("making", "make"), ("using", "use"), ("created", "create"), ("judged", "judge")],
        *[("believed", "believe"), ("treated", "treat"), ("falling", "fall"), ("added", "add")],
        *[("seeing", "see"), ("cities", "city"), ("tried", "try"), ("boxes", "box")],
        *[("houses", "house"), ("bowls", "bowl"), ("watches", "watch"), ("WALKED", "WALK")],
    ],
)
def test_an_ending_is_stripped(word, stem):
    assert slips(word) == [stem]


@pytest.mark.parametrize(
    "word",
    ["", "dogs", "this", "thing", "class", "status", "analysis", "agreed", "during", "spring"],
)
def test_what_only_looks_inflected_is_left(word):
    assert slips(word) == []


@pytest.mark.parametrize(
    "word", ["3.5", "it's", "re-used", "größten", "日本", "https://x.org/files"]
)
def test_what_is_no_plain_word_is_left(word):
    assert slips(word) == []


def test_function_words_are_exchanged_within_their_kind():
    assert slips("the") == ["a", "an"]
    assert slips("The") == ["A", "An"]
    assert slips("(was,") == ["(is,", "(are,", "(were,", "(be,", "(am,"]
    assert is_function_word("The")
    assert not is_function_word("the,")


def test_all_ways_to_mistype():
    results = {mistyped("(tree)", random.Random(seed)) for seed in range(2000)}

    assert {"(rtee)", "(tere)", "(tre)", "(ree)", "(tee)", "(xtree)", "(trexe)"} <= results
    assert "(tree)" not in results


@given(st.text(max_size=30), st.integers(0, 2**32))
def test_any_word(word, seed):
    assert (mistyped(word, random.Random(seed)) != word) == is_long(word)
    assert word not in slips(word)
