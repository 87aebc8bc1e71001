from __future__ import annotations

import random

import pytest

from instructmining.errors import ExperimentError
from instructmining.examples import Example, Turn
from instructmining.overlap.texts import Overlap
from instructmining.overlap.words import OverlapIndex
from pace import processor_seconds

WORDS = [f"word{i}" for i in range(500)]
LONG = " ".join(WORDS[:40])
REFERENCE = " ".join(WORDS[100:150])


def example(prompt: str, response: str, *before: Turn) -> Example:
    return Example(0, (*before, Turn("user", prompt)), response)


@pytest.fixture(scope="module")
def index() -> OverlapIndex:
    return OverlapIndex.build(
        [
            example(LONG, REFERENCE),
            example("Write a poem about the autumn moon", "Yes."),
            example("Say hello now", "Hello, nice to meet you, my friend!"),
            example("?!", "Punctuation only."),
            example("请把下面的句子翻译成英文然后解释语法", "ok"),
        ]
    )


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (example(LONG.upper().replace(" ", ",  "), "x"), "prompt"),
        (example("say HELLO, now?", "x"), "prompt"),
        (example(" ?! ", "x"), "prompt"),
        (example("Go on", "x", Turn("user", "Say hello now"), Turn("assistant", "Hi")), "prompt"),
        (example("x", "hello nice to meet you my friend"), "response"),
        (example("Please: write a poem about the autumn moon. Thanks", "x"), "contained"),
        (example("x", "He asked: write a poem about the autumn moon"), "contained"),
        (example("before " + " ".join(WORDS[5:18]) + " after", "x"), "ngram"),
        (example("x", "before " + " ".join(WORDS[120:133])), "ngram"),
        (example("x", " ".join(WORDS[27:40])), "ngram"),
        (example("x", "前言：请把下面的句子翻译成英文然后解释一下"), "ngram"),
    ],
)
def test_overlap_is_found(index, row, kind):
    found = index.find(row)
    assert isinstance(found, Overlap)
    assert found.kind == kind
    assert found.text


@pytest.mark.parametrize(
    "row",
    [
        example("before " + " ".join(WORDS[5:17]) + " after", "x"),  # twelve words only
        example("x", " ".join(WORDS[148:150] + WORDS[:11])),  # twelve words of two texts
        example("Bob, say hello now to me", "x"),  # short prompts count only when equal
        example("Is it so?", "Yes."),  # short answers are common
        example("Write a poem about the winter moon", "x"),
        example("", ""),
    ],
)
def test_what_is_merely_similar_is_kept(index, row):
    assert index.find(row) is None


def test_matched_text_is_the_shared_run(index):
    found = index.find(example("So, " + " ".join(WORDS[5:18]) + "!", "x"))
    assert found == Overlap("ngram", " ".join(WORDS[5:18]))


def test_a_shared_system_turn_is_no_overlap():
    stock = Turn("system", " ".join(WORDS[200:240]))
    index = OverlapIndex.build([example("What is the capital of France?", "Paris", stock)])
    assert index.find(example("Name a fish", "Cod", stock)) is None
    assert index.find(example("what is the capital of france", "x")) is not None


@pytest.mark.parametrize("n", [1, 3, 8])
def test_other_lengths(n):
    index = OverlapIndex.build([example(LONG, REFERENCE)], n)
    assert index.find(example("a " + " ".join(WORDS[3 : 3 + n]), "b")) is not None
    assert index.find(example("a " + " ".join(WORDS[3 : 2 + n]), "b")) is None
    with pytest.raises(ExperimentError, match="at least 1"):
        OverlapIndex(0)


def test_agrees_with_plain_comparison_on_random_texts():
    generator = random.Random(3)

    def text() -> str:
        return " ".join(generator.choices("abcd", k=generator.randint(14, 40)))

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}

    references = [text() for _ in range(30)]
    index = OverlapIndex.build([example(f"question{i}", r) for i, r in enumerate(references)], 8)
    indexed = set().union(*map(grams, references))
    rows = [text() for _ in range(400)]
    expected = [bool(grams(row) & indexed) for row in rows]
    assert [index.find(example("x", row)) is not None for row in rows] == expected
    assert 20 < sum(expected) < 380


def test_sixty_thousand_rows_take_well_under_a_minute(index):
    generator = random.Random(0)
    rows = [example("x", " ".join(generator.choices(WORDS, k=90))) for _ in range(3000)]
    assert all(index.find(row) is None for row in rows)
    assert processor_seconds(lambda: [index.find(row) for row in rows]) * 20 < 40
