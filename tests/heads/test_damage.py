"""Damages: each changes what it says and only that, in the same way for the same seed."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.heads.damage import DAMAGES, damaged, first_sentences, spoken, swapped
from pace import processor_seconds

GOOD = (
    "Thank you for asking. The dog was walking to the house and wanted its dinner.\n\n"
    "1. Open the kitchen door.\n2. Fill both bowls with water or tasty biscuits.\n"
    "3. Call her, and wait until she comes running!"
)
OTHER = (
    "Paris lies on Seine's banks. Millions visit museums. Rent rises each year; cafés stay full."
)
LINES = re.compile(r"\s*\n\s*")

seeds = st.integers(0, 2**32)
texts = st.text(max_size=300) | st.lists(
    st.sampled_from([*GOOD.split(), *OTHER.split(), "\n", "🙂", "日本語です。", "ÉTÉ", "..."])
).map(" ".join)


def damage(kind, seed=0, text=GOOD, other=OTHER):
    return damaged(text, kind, random.Random(seed), other)


def one_each_hundred(kind, **inputs):
    """Results of 100 seeds; that none is None is part of what is asked."""
    results = [damage(kind, seed, **inputs) for seed in range(100)]
    assert None not in results
    return results


def counts(text):
    return Counter(text.split())


# What each kind does


def test_shuffle_keeps_the_words_and_the_lines():
    for result in one_each_hundred("shuffle"):
        assert counts(result) == counts(GOOD)
        assert re.findall(r"\s+", result) == re.findall(r"\s+", GOOD)
    # No word leaves its run, of ten words at most.
    numbers = " ".join(map(str, range(100)))
    for result in one_each_hundred("shuffle", text=numbers):
        assert all(abs(int(word) - place) < 10 for place, word in enumerate(result.split()))


def test_drop_leaves_a_part_in_order():
    n = len(GOOD.split())
    for result in one_each_hundred("drop"):
        rest = iter(GOOD.split())
        assert all(word in rest for word in result.split())
        assert 0.6 * n - 1 <= len(result.split()) <= 0.85 * n + 1
        # A line may vanish as a whole; nothing else becomes of line breaks.
        assert result.count("\n") <= GOOD.count("\n")
    kept = [result.count("\n") == GOOD.count("\n") for result in one_each_hundred("drop")]
    assert sum(kept) > 90


def test_a_line_whose_first_word_is_dropped_still_begins_there():
    results = {damage("drop", seed, "one\ntwo\n\nthree\nfour") for seed in range(500)}
    assert all(re.split(r"\n+", result) == result.split() for result in results)
    assert {"two\n\nthree\nfour", "one\n\nthree\nfour", "one\n\nfour"} <= results


def test_repeat_only_says_again_what_was_said():
    for result in one_each_hundred("repeat"):
        assert counts(result) > counts(GOOD)
        assert set(result.split()) == set(GOOD.split())
        # Without what was added the words stand as they did.
        rest = iter(result.split())
        assert all(word in rest for word in GOOD.split())
    assert re.search(r"\b(\w+(?: \w+){0,4}) \1\b", damage("repeat", 1, "one two three four"))


def test_insert_adds_words_of_the_other_text():
    n = len(GOOD.split())
    edges = set()
    for result in one_each_hundred("insert"):
        added = counts(result) - counts(GOOD)
        assert set(added) <= set(OTHER.split())
        assert counts(result) - added == counts(GOOD)
        assert 0.1 * n - 1 <= added.total() <= 0.3 * n + 1
        assert LINES.findall(result) == LINES.findall(GOOD)
        edges |= {place for place in (0, -1) if result.split()[place] in added}
    assert edges == {0, -1}


def test_substitute_exchanges_words_in_place():
    n = len(GOOD.split())
    for result in one_each_hundred("substitute"):
        assert re.findall(r"\s+", result) == re.findall(r"\s+", GOOD)
        pairs = list(zip(GOOD.split(), result.split(), strict=True))
        assert all(old == new or new in OTHER.split() for old, new in pairs)
        assert 0.1 * n - 1 <= sum(old != new for old, new in pairs) <= 0.3 * n + 1


def test_typo_slips_once_in_some_long_words():
    long = sum(bool(re.search(r"[^\W\d_]{4}", word)) for word in GOOD.split())
    for result in one_each_hundred("typo"):
        assert re.findall(r"\s+", result) == re.findall(r"\s+", GOOD)
        pairs = zip(GOOD.split(), result.split(), strict=True)
        changed = [(old, new) for old, new in pairs if old != new]
        assert 1 <= len(changed) <= 0.3 * long + 1
        for old, new in changed:
            assert len(re.search(r"[^\W\d_]+", old).group()) >= 4
            assert abs(len(old) - len(new)) <= 1
            if len(old) == len(new):
                assert counts(" ".join(old)) == counts(" ".join(new))
            # Punctuation around the letters is no letter.
            assert re.sub(r"\w", "", old) == re.sub(r"\w", "", new)


def test_grammar_slips_leave_the_content_words():
    function = {"for", "the", "was", "to", "and", "with", "or"}
    stems = {"asking.": "ask.", "walking": "walk", "wanted": "want", "bowls": "bowl"}
    stems |= {"biscuits.": "biscuit.", "running!": "run!"}
    untouched = [w for w in GOOD.split() if w.lower() not in function and w not in stems]
    seen = set()
    for result in one_each_hundred("grammar"):
        words = result.split()
        rest = iter(words)
        assert all(word in rest for word in untouched if word != "comes")
        seen |= set(words) - set(GOOD.split())
    assert set(stems.values()) <= seen
    assert {"were", "an", "on", "but"} <= seen
    # Sentences and lines end and begin as they did.
    assert all(r.count("\n") == GOOD.count("\n") for r in one_each_hundred("grammar"))


def test_a_capital_stays_when_a_function_word_is_exchanged():
    results = {damage("grammar", seed, "The sky") for seed in range(30)}
    assert results == {"sky", "A sky", "An sky"}


def test_splice_goes_on_with_the_end_of_the_other_text():
    # At the sentence end nearest the middle of each; without one, in the middle.
    long = "One is here, with two. Three. Four is not."
    assert damage("splice", text=long) == (
        "One is here, with two. Rent rises each year; cafés stay full."
    )
    assert damage("splice", text="a b\nc d", other="e f\n\ng h") == "a b\n\ng h"
    assert damage("splice", text="a b. c\nd e f", other="g h i j. k l") == "a b. k l"
    assert damage("splice", text="a", other="b") == "a b"


@pytest.mark.parametrize("kind", DAMAGES)
def test_hurts_names_columns(kind):
    assert set(DAMAGES[kind].hurts) <= {"nat", "coh", "und"}
    assert DAMAGES[kind].hurts
    assert "Hurts" in DAMAGES[kind].apply.__doc__


# Common to all


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    "text", ["", " \n ", "one", "🙂", "。", "日本語の文章は空白なしに書かれます", "\x00"]
)
def test_junk_is_damaged_or_refused_but_never_emptied(kind, text):
    for seed in range(20):
        for other in ("", OTHER, "🙂"):
            result = damage(kind, seed, text, other)
            assert result is None or result.split() not in ([], text.split())


@pytest.mark.parametrize("kind", DAMAGES)
def test_where_nothing_changes_there_is_no_damage(kind):
    assert damage(kind, text="") is None
    if kind in ("insert", "substitute", "splice"):
        assert damage(kind, other="") is None
    if kind in ("shuffle", "drop", "grammar", "typo"):
        assert damage(kind, text="one") is None


@pytest.mark.parametrize("kind", DAMAGES)
def test_ten_thousand_words_are_quick(kind):
    text = " ".join(random.Random(0).choices(GOOD.split(), k=10_000))
    assert damage(kind, text=text, other=text[::-1]) is not None
    assert processor_seconds(lambda: damage(kind, text=text, other=text[::-1])) < 1.0


@pytest.mark.parametrize("word", ["a" * 100_000, "." * 100_000, '."' * 50_000, "es" * 50_000])
@pytest.mark.parametrize("kind", DAMAGES)
def test_one_endless_word_is_quick(kind, word):
    def damage_and_cut():
        damage(kind, text=f"{word} and {word}ing", other=word)
        first_sentences(word, 1)

    assert processor_seconds(damage_and_cut) < 1.0


@given(text=texts, other=texts, seed=seeds, kind=st.sampled_from(sorted(DAMAGES)))
def test_any_text(text, other, seed, kind):
    result = damage(kind, seed, text, other)

    assert damage(kind, seed, text, other) == result
    if result is not None:
        assert result.split() not in ([], text.split())
        # Around the text the white space stays.
        assert result[: len(result) - len(result.lstrip())] == text[: -len(text.lstrip())]
        assert result[len(result.rstrip()) :] == text[len(text.rstrip()) :]


def test_the_same_in_every_process():
    code = (
        "import json, random, sys; from instructmining.heads.damage import DAMAGES, damaged; "
        "text, other = json.load(sys.stdin); "
        "print(json.dumps([damaged(text, k, random.Random(s), other)"
        " for k in DAMAGES for s in range(5)]))"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([GOOD, OTHER]),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert json.loads(answers[0]) == [damage(k, s) for k in DAMAGES for s in range(5)]


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="'scramble' came; choose one of shuffle, drop"):
        damage("scramble")


# Another prompt's response


def test_swapped_is_another_prompts_response_of_the_same_length():
    rng = random.Random(0)
    responses = [" ".join(f"w{i}" for _ in range(rng.randint(1, 100))) for i in range(500)]
    groups = [i // 2 for i in range(500)]
    lengths = [len(r.split()) for r in responses]

    chosen = [swapped(i, responses, groups, rng) for i in range(500)]

    assert all(groups[i] != groups[j] for i, j in enumerate(chosen))
    apart = [abs(lengths[i] - lengths[j]) for i, j in enumerate(chosen)]
    at_random = [abs(lengths[i] - lengths[(i + 250) % 500]) for i in range(500)]
    assert sum(apart) < 0.3 * sum(at_random)
    # Drawn, not looked up: one response does not serve all others of its length.
    assert len(set(chosen)) > 200


def test_swapped_finds_the_only_one_and_refuses_where_there_is_none():
    rng = random.Random(0)
    # The same answer to another prompt would be no worse.
    responses, groups = ["Yes."] * 50 + ["No, not at all."], ["a"] * 25 + ["b"] * 26
    assert swapped(0, responses, groups, rng) == 50
    assert swapped(0, ["x", "y"], ["a", "b"], rng) == 1
    with pytest.raises(InputError, match="2 responses"):
        swapped(0, ["x", "y"], ["a", "a"], rng)
    with pytest.raises(InputError, match="two prompts"):
        swapped(0, ["x", "x"], ["a", "b"], rng)


# Style and length


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hi! How are you, Ann?", "hi ! how are you , ann ?"),
        ("It’s $3.50 (or 1,000...) at 10:30.", "it's $3.50 ( or 1,000 ... ) at 10:30 ."),
        ("“Yes”,\n\nhe said.\tOK", '" yes " , he said . ok'),
        ("hi there how are you doing ?", "hi there how are you doing ?"),
        ("  ", ""),
        ("日本語🙂", "日本語🙂"),
    ],
)
def test_spoken(text, wanted):
    assert spoken(text) == wanted


@given(texts)
def test_spoken_twice_is_spoken_once(text):
    assert spoken(spoken(text)) == spoken(text)


@pytest.mark.parametrize(
    ("n_words", "wanted"),
    [
        (2, None),
        (3, "Dr. Ann left."),
        (5, "Dr. Ann left. Why?"),
        (8, 'Dr. Ann left. Why?\n\n1. "It was late."'),
        (9, 'Dr. Ann left. Why?\n\n1. "It was late."'),
        (10, 'Dr. Ann left. Why?\n\n1. "It was late."\n2. Rain'),
    ],
)
def test_first_sentences(n_words, wanted):
    # Neither a title nor the label of a list ends a sentence; the end of the text need not.
    text = '\nDr. Ann left. Why?\n\n1. "It was late."\n2. Rain '
    assert first_sentences(text, n_words) == wanted


@given(text=texts, n_words=st.integers(-3, 60))
def test_first_sentences_of_any_text(text, n_words):
    result = first_sentences(text, n_words)

    if len(text.split()) <= n_words:
        assert result == (text.strip() or None)
    elif result is not None:
        assert text.strip().startswith(result)
        assert 0 < len(result.split()) <= n_words
        assert re.search(r"[.!?…。！？]\W*$", result)
