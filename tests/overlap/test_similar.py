from __future__ import annotations

import os
import random
import subprocess
import sys
import unicodedata

import pytest

from instructmining.errors import InputError
from instructmining.examples import Example, Turn
from instructmining.overlap.similar import (
    LEAST_SIMILARITY,
    RECALL,
    SimilarIndex,
    bands,
    jaccard,
    shingles,
)
from instructmining.overlap.texts import split_words
from instructmining.overlap.words import OverlapIndex
from pace import processor_seconds

WORDS = [f"word{i}" for i in range(500)]


def example(prompt: str, response: str = "x", *before: Turn) -> Example:
    return Example(0, (*before, Turn("user", prompt)), response)


def similarity(left: str, right: str) -> float:
    return jaccard(shingles(split_words(left)), shingles(split_words(right)))


def index_of(*prompts: str, at: float = 0.7) -> SimilarIndex:
    return SimilarIndex.build(map(example, prompts), at)


def with_replaced(words: list[str], every: int) -> str:
    return " ".join(f"new{i}" if i % every == every - 1 else word for i, word in enumerate(words))


# Similarity


@pytest.mark.parametrize(
    ("left", "right", "shared", "together"),
    [
        # ^a ab bc c$ and ^a ab bd d$: two of six.
        ("a b c", "a b d", 2, 6),
        # A word put into seven: eight pairs and nine, seven of them common.
        ("a b c d e f g", "a b c x d e f g", 7, 10),
        # The last of seven replaced, and one in the middle: both six of ten.
        ("a b c d e f g", "a b c d e f x", 6, 10),
        ("a b c d e f g", "a b c x e f g", 6, 10),
        ("Write, a POEM!", "write a poem", 4, 4),
        ("a a a a", "a a", 3, 3),
        ("a b", "b a", 0, 6),
        ("写一首诗", "写一首歌", 3, 7),
        ("", "a", 0, 2),
        ("", "", 0, 1),
    ],
)
def test_similarity_by_hand(left, right, shared, together):
    assert similarity(left, right) == similarity(right, left) == shared / together


def test_a_pair_at_the_very_threshold_is_similar():
    index = index_of("a b c d e f g")
    assert similarity("a b c d e f g", "a b c x d e f g") == 0.7
    assert index.find(example("a b c x d e f g")).text == "a b c d e f g"
    assert index_of("a b c d e f g", at=0.701).find(example("a b c x d e f g")) is None
    assert index.find(example("a b c d e f x")) is None


def test_a_replaced_word_in_twelve_is_found_here_and_not_by_runs_of_words():
    text = " ".join(WORDS[:240])
    changed = with_replaced(WORDS[:240], 12)
    assert OverlapIndex.build([example(text)]).find(example(changed)) is None
    found = index_of(text).find(example("x", changed))
    assert (found.kind, found.text) == ("similar", text)


def test_sentences_in_another_order_are_found():
    sentences = [" ".join(WORDS[i : i + 12]) for i in range(0, 240, 12)]
    shuffled = random.Random(1).sample(sentences, len(sentences))
    text, row = " ".join(sentences), example(". ".join(shuffled))
    assert OverlapIndex.build([example(text)]).find(row) is None
    assert index_of(text).find(row) is not None


def test_another_question_of_the_same_form_is_none():
    index = index_of("What is the tallest mountain in Colorado?", "What is the capital of France?")
    assert index.find(example("What is the tallest mountain in Europe?")) is None
    assert index.find(example("What is the capital of Spain?")) is None


# What is compared


def test_prompts_turns_and_responses_are_compared_and_system_turns_are_not():
    text = " ".join(WORDS[:30])
    changed = with_replaced(WORDS[:30], 15)
    index = SimilarIndex.build([example("something else", text)], 0.7)
    said = Turn("user", changed)
    assert index.find(example(changed)) is not None
    assert index.find(example("x", changed)) is not None
    assert index.find(example("go on", "x", said, Turn("assistant", "ok"))) is not None
    assert index.find(example("x", "x", Turn("system", changed))) is None


def test_short_texts_are_too_common():
    index = SimilarIndex.build([example("Yes it is so", "No it is not")], 0.5)
    assert index.find(example("Yes it is so", "No it is not")) is None


def test_no_text_of_an_evaluation_file_is_left_out():
    # A tool that calls ten snippets a benchmark would miss those after them.
    texts = [" ".join(WORDS[i : i + 12]) for i in range(0, 480, 12)]
    index = index_of(*texts)
    assert [index.find(example("please " + text)).text for text in texts] == texts


def test_the_most_similar_text_is_named_and_of_equal_ones_the_first():
    base = WORDS[:40]
    worse, better = with_replaced(base, 20), with_replaced(base, 40)
    row = example(" ".join(base))
    assert index_of(worse, better).find(row).text == better
    twins = [" ".join(["first", *base]), " ".join(["other", *base])]
    assert index_of(*twins).find(row).text == twins[0]
    assert index_of(*twins[::-1]).find(row).text == twins[1]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("请把下面的句子翻译成英文然后解释", "请把下面的句子翻译成英文再然后解释"),
        (
            "Où est née l'élève préférée de Zoë",
            unicodedata.normalize("NFD", "Où est née l'ÉLÈVE préférée de notre Zoë"),
        ),
        ("Ｗｒｉｔｅ a short poem about the sea", "write a very short poem about the sea"),
        (
            "Скажи мне где находится самая высокая гора",
            "скажи мне, где же находится самая высокая гора?",
        ),
    ],
)
def test_any_script(text, row):
    assert index_of(text).find(example(row)) is not None


@pytest.mark.parametrize("prompt", ["", " \n", "?!", "a", "\ud800", "🙂 🙂"])
def test_texts_without_words_are_like_nothing(prompt):
    assert index_of(prompt, "a b c d e f g").find(example(prompt, prompt)) is None
    assert SimilarIndex(0.7).find(example("a b c d e f g")) is None


def test_a_very_long_response_takes_no_time():
    generator = random.Random(0)
    index = index_of(*(" ".join(generator.choices(WORDS, k=100)) for _ in range(50)))
    page = example("x", " ".join(generator.choices(WORDS, k=150_000)))
    assert len(page.response) > 1_000_000
    assert processor_seconds(lambda: index.find(page)) < 2


# Against all pairs compared


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7, 0.9])
def test_nothing_below_the_threshold_is_reported_and_hardly_anything_above_it_missed(at):
    generator = random.Random(7)
    texts = [generator.choices(WORDS, k=generator.randint(6, 60)) for _ in range(150)]
    rows = []
    for words in texts * 4:
        rate = generator.random() * 0.4
        kept = (word if generator.random() > rate else generator.choice(WORDS) for word in words)
        rows.append(" ".join(kept))
    index = index_of(*(" ".join(words) for words in texts), at=at)
    sets = [shingles(words) for words in texts]
    missed = wanted = 0
    for row in rows:
        own = shingles(row.split())
        best = max(jaccard(own, one) for one in sets)
        found = index.find(example(row))
        if found is not None:
            assert similarity(row, found.text) == best >= at
        wanted += best >= at
        missed += best >= at and found is None
    assert 50 < wanted < len(rows)
    assert missed <= 3


def test_recall_at_the_threshold():
    # Four words put into 31 leave 28 of 32 pairs, 40 in all: 0.7 exactly, a thousand times.
    generator = random.Random(3)
    vocabulary = [f"w{i}" for i in range(100_000)]
    texts, rows = [], []
    for _ in range(1000):
        words, places = generator.sample(vocabulary, 31), generator.sample(range(31), 4)
        texts.append(" ".join(words))
        rows.append(" ".join(f"{w} new" if i in places else w for i, w in enumerate(words)))
    assert {similarity(*pair) for pair in zip(texts, rows, strict=True)} == {0.7}
    index = index_of(*texts)
    found = sum(index.find(example(row)) is not None for row in rows)
    # One in a thousand is missed at most, so more than five are unlikely.
    assert found >= 995


@pytest.mark.parametrize("at", [LEAST_SIMILARITY, 0.3, 0.5, 0.7, 0.85, 0.99, 1.0])
def test_bands_propose_what_they_promise(at):
    n, rows = bands(at)
    assert 1 - (1 - at**rows) ** n >= RECALL
    assert n >= 2
    assert n * rows <= 128


def test_the_same_in_every_process():
    program = (
        "import random\n"
        "from instructmining.examples import Example, Turn\n"
        "from instructmining.overlap.similar import SimilarIndex\n"
        "g = random.Random(5)\n"
        "texts = [g.choices('abcdefghijkl', k=20) for _ in range(60)]\n"
        "of = lambda words: Example(0, (Turn('user', ' '.join(words)),), 'x')\n"
        "index = SimilarIndex.build(map(of, texts), 0.5)\n"
        "print([index.find(of(words[2:] + words[:2])) for words in texts])\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1
    assert "similar" in said.pop()


# What it needs


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(InputError, match=r"pip install 'instructmining\[overlap\]'") as caught:
        SimilarIndex(0.7)
    assert "\n" not in str(caught.value)
