"""The content hash: what enters it, and that it stays what it is."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.examples import Example, Turn

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
CONTENTS = st.tuples(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), ANY_TEXT), max_size=3),
    ANY_TEXT,
)


def example(turns, response, row=0, **fields):
    return Example(row, tuple(Turn(*turn) for turn in turns), response, **fields)


def test_digest_is_pinned():
    # Stores of earlier versions are keyed by it: a change here loses every stored score.
    assert example([("user", "Say hi.")], "Hi.").digest == "72b321e26eeaa9fc00ceea84978f5ee8"


def test_row_source_and_flags_do_not_enter():
    one = example([("user", "a")], "b")
    other = example([("user", "a")], "b", row=7, source="else", flags=("x",))
    assert one.digest == other.digest
    assert one != other


@pytest.mark.parametrize(
    ("turns", "response"),
    [
        ([("user", "a")], "B"),
        ([("system", "a")], "b"),
        ([("user", "A")], "b"),
        ([], "ab"),
        ([("user", "a"), ("user", "")], "b"),
        ([("user", "ab")], ""),
        ([("user", 'a"],["user","')], "b"),
    ],
)
def test_every_other_content_has_another_digest(turns, response):
    assert example(turns, response).digest != example([("user", "a")], "b").digest


@given(CONTENTS, CONTENTS)
def test_equal_digests_mean_equal_content(first, second):
    one, other = example(*first), example(*second)
    assert (one.digest == other.digest) == (first == second)
    assert len(one.digest) == 32
    assert int(one.digest, 16) >= 0


def test_normal_forms_are_different_texts():
    composed, decomposed = "\u00e9", "e\u0301"
    assert example([], composed).digest != example([], decomposed).digest


def test_prompt_and_scorable():
    several = example([("system", "Be brief."), ("user", "Hi")], "Hello")
    assert several.prompt == "Be brief.\nHi"
    assert several.scorable
    assert example([], "").prompt == ""
    assert not example([("user", "a")], "").scorable
    assert not example([("user", "a")], " \n\t\u00a0").scorable


def test_frozen_and_travels_between_processes():
    one = example([("user", "a")], "b", flags=("x",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.response = "c"
    copy = pickle.loads(pickle.dumps(one))
    assert copy == one
    assert copy.digest == one.digest
