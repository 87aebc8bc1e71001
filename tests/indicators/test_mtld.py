"""MTLD: hand-worked numbers, gold values, and agreement with lexicalrichness."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lexicalrichness import LexicalRichness

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators import mtld as module
from instructmining.indicators.mtld import LexicalDiversity, mtld, words
from pace import processor_seconds

# Worked by hand

HAND_WORKED = [
    # Ratios 1, 1, 1, 3/4 both ways: (1 - 0.75) / 0.28 of a factor over four words.
    ("a b c a", 4 / (0.25 / 0.28)),
    # On: "a a" is a factor, "b c" none of one: 4. Back: 3/4 at the end, as above.
    ("a a b c", (4 + 4 / (0.25 / 0.28)) / 2),
    # Every second word ends a factor: 15 factors.
    ("yes " * 30, 2.0),
    # On: "a b a" ends at 2/3, "c c" at 1/2: 5 / 2. Back: "c c", then "a b a": the same.
    ("a b a c c", 2.5),
    # On: "a b a" ends a factor at 2/3, then 3/4 at the end. Back: 5/7 at the last word is one.
    ("a b a c d e c", (7 / (1 + 0.25 / 0.28) + 7) / 2),
    # No word repeats: no factor at all, the number of words.
    ("one two three four five six seven", 7.0),
    ("one", 1.0),
]


@pytest.mark.parametrize(("text", "wanted"), HAND_WORKED, ids=lambda v: str(v)[:16])
def test_hand_worked_values(text, wanted):
    assert mtld(text.split()) == pytest.approx(wanted, rel=1e-12)


def test_a_ratio_at_the_threshold_ends_a_factor_only_if_inclusive():
    tokens = ["a", "b", "c", "a", "d"]  # 3/4 at the fourth word, 4/5 at the end; backwards only 4/5

    # Exclusive: 1 - 4/5 of 1 - 3/4 both ways, 0.8 factors. Inclusive: one factor going on.
    assert mtld(tokens, threshold=0.75) == pytest.approx(5 / 0.8)
    assert mtld(tokens, threshold=0.75, inclusive=True) == pytest.approx((5 + 5 / 0.8) / 2)


def test_min_factor_keeps_short_factors_open():
    # Three factors of ten words instead of fifteen of two.
    assert mtld(["yes"] * 30, min_factor=10) == 10.0
    assert mtld(["yes"] * 30, min_factor=2) == mtld(["yes"] * 30) == 2.0
    # One factor of ten, then two words at ratio 1/2.
    wanted = 12 / (1 + 0.5 / 0.28)
    assert mtld(["yes"] * 12, min_factor=10) == pytest.approx(wanted)


def test_no_words_have_no_diversity():
    assert math.isnan(mtld([]))


# Against others


def test_gold_values(shared_data):
    gold = json.loads((shared_data / "mtld" / "gold.json").read_text())

    assert len(gold) >= 3
    for case in gold:
        value = mtld(case["tokens"], inclusive=True)
        assert value == pytest.approx(case["mtld"], rel=1e-12), case["id"]


some_words = st.lists(
    st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]),
    min_size=1,
    max_size=80,
)


@given(some_words, st.sampled_from([0.5, 0.66, 0.72, 0.75, 0.9]))
def test_inclusive_mtld_is_that_of_lexicalrichness(tokens, threshold):
    theirs = LexicalRichness(tokens, preprocessor=None, tokenizer=None).mtld(threshold)

    ours = mtld(tokens, threshold=threshold, inclusive=True)

    assert ours == pytest.approx(theirs, rel=1e-12)


def plain_definition(tokens, threshold, inclusive, min_factor):
    """McCarthy and Jarvis, a ratio after every word."""
    ways = []
    for way in (tokens, tokens[::-1]):
        factors, segment, ratio = 0.0, [], 1.0
        for token in way:
            segment.append(token)
            ratio = len(set(segment)) / len(segment)
            below = ratio <= threshold if inclusive else ratio < threshold
            if below and len(segment) >= min_factor:
                factors, segment, ratio = factors + 1, [], 1.0
        if segment:
            factors += (1 - ratio) / (1 - threshold)
        ways.append(len(tokens) / factors if factors > 0 else float(len(tokens)))
    return sum(ways) / 2


@given(
    some_words,
    st.one_of(
        st.sampled_from([0.5, 0.66, 0.72, 0.75, 0.9]),
        # Ratios that occur, where `<` and `<=` part.
        st.tuples(st.integers(1, 40), st.integers(41, 80)).map(lambda pair: pair[0] / pair[1]),
        st.floats(0, 1, exclude_min=True, exclude_max=True),
    ),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3, 10]),
)
def test_values_are_those_of_the_plain_definition(tokens, threshold, inclusive, min_factor):
    ours = mtld(tokens, threshold=threshold, inclusive=inclusive, min_factor=min_factor)

    assert ours == plain_definition(tokens, threshold, inclusive, min_factor)


@given(some_words, st.booleans(), st.sampled_from([0, 10]))
def test_reading_backwards_changes_nothing(tokens, inclusive, min_factor):
    options = {"inclusive": inclusive, "min_factor": min_factor}

    assert mtld(tokens[::-1], **options) == pytest.approx(mtld(tokens, **options))


@given(some_words)
def test_values_lie_between_one_factor_a_repeat_and_one_in_all(tokens):
    value = mtld(tokens)

    assert 1 <= value < math.inf
    if len(set(tokens)) == len(tokens):
        assert value == len(tokens)


def test_the_walk_is_linear_in_the_number_of_words():
    def seconds(n):
        tokens = [f"word{i}" for i in range(n)]
        assert mtld(tokens) == n
        return processor_seconds(lambda: mtld(tokens))

    # A quadratic walk takes minutes over this many distinct words.
    assert seconds(200_000) < 5
    assert seconds(2_000) < 0.2


def test_case_does_not_make_a_word_new():
    assert mtld(words("Yes yes YES yes")) == 2.0


# The indicator


def values(*responses, **options):
    examples = [Example(row, (), response) for row, response in enumerate(responses)]
    return LexicalDiversity(**options).transform(examples, None)


def test_only_the_response_is_read():
    from instructmining.examples import Turn

    quiet = Example(0, (), "a b c a")
    loud = Example(0, (Turn("user", "yes " * 30),), "a b c a")

    (one,), (other,) = LexicalDiversity().transform([quiet, loud], None)

    assert one == other == pytest.approx(4.48)


def test_a_response_without_words_is_undefined():
    column = values("Paris", "?!", "", "水水水水", "\ud800")

    assert column.shape == (5, 1)
    assert np.isnan(column[:, 0]).tolist() == [False, True, True, False, True]
    assert column[0, 0] == 1.0
    assert column[3, 0] == 2.0


def test_parameters_reach_the_measure():
    assert values("yes " * 30, min_factor=10)[0, 0] == 10.0
    assert values("a b c a d", threshold=0.75)[0, 0] == pytest.approx(6.25)
    assert values("a b c a d", threshold=0.75, inclusive=True)[0, 0] == pytest.approx(5.625)


one_text = (
    some_words.map(" ".join)
    | st.text(max_size=80)
    | st.text(st.sampled_from("aAbéÉßs’'- 水ж"), max_size=80)
)


@given(
    st.lists(one_text, max_size=40),
    st.sampled_from([0.5, 0.66, 0.72, 0.75, 1 / 3, 0.9]),
    st.booleans(),
    st.sampled_from([0, 1, 2, 10]),
)
def test_values_are_the_bits_of_one_text_at_a_time(texts, threshold, inclusive, min_factor):
    options = {"threshold": threshold, "inclusive": inclusive, "min_factor": min_factor}
    wanted = [mtld(words(text), **options) for text in texts]

    np.testing.assert_array_equal(values(*texts, **options)[:, 0], wanted)
    with pytest.MonkeyPatch.context() as patch:
        # Several parts, and texts too long to be walked with the others.
        for name, size in (("_NUMBERED", 50), ("_TOGETHER", 200), ("_LONG", 60)):
            patch.setattr(module, name, size)
        np.testing.assert_array_equal(values(*texts, **options)[:, 0], wanted)


@pytest.mark.parametrize("inclusive", [False, True])
def test_values_of_alpaca_are_the_bits_of_one_text_at_a_time(shared_data, inclusive):
    path = shared_data / "instructions" / "alpaca_data.json"
    texts = [row["output"] for row in json.loads(path.read_text(encoding="utf-8"))][::5]
    wanted = [mtld(words(text), inclusive=inclusive) for text in texts]

    np.testing.assert_array_equal(values(*texts, inclusive=inclusive)[:, 0], wanted)


def test_a_book_among_short_texts_is_measured_as_alone():
    book = " ".join(f"w{i % 700}" for i in range(20_000))

    column = values("a b c a", book, "yes " * 30)[:, 0]

    assert column.tolist() == [mtld(words("a b c a")), mtld(words(book)), 2.0]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 72])
def test_a_threshold_that_is_no_ratio_is_refused(threshold):
    with pytest.raises(InputError, match="between 0 and 1"):
        LexicalDiversity(threshold=threshold)
