"""Words of many scripts, and the numbers that stand for them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instructmining.indicators._words import _MIX, narrowed, numbered, repeats, words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don't stop: well-known, isn’t it?", ["don't", "stop", "well-known", "isn’t", "it"]),
        ("in 2024, 3.5 of x_1", ["in", "2024", "3", "5", "of", "x_1"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("- -- ' ... !", []),
        ("水は沸騰。", ["水", "は", "沸", "騰"]),
        ("I like 寿司 very", ["i", "like", "寿", "司", "very"]),
        ("안녕 세상", ["안녕", "세상"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("مُحَمَّد", ["مُحَمَّد"]),
        ("cafe\u0301s are", ["cafe\u0301s", "are"]),
        ("❤️ ok 👍🏽", ["ok"]),
        ("a'-b -c' d-'e f--g h-i-j", ["a", "b", "c", "d", "e", "f", "g", "h-i-j"]),
        ("a\x00b\x1cC", ["a", "b", "c"]),
        ("", []),
    ],
)
def test_words_of_many_scripts(text, wanted):
    assert words(text) == wanted


def test_thai_is_read_character_by_character():
    assert words("กาน้ำ") == ["ก", "า", "น", "ำ"]


@given(
    st.text(st.sampled_from("aB9_'-. \n\x00\x1c"), max_size=40)
    | st.text(st.characters(codec="ascii"))
)
def test_ascii_is_split_as_any_other_text(text):
    # A word of another script at the end takes the general way.
    assert [*words(text), "ж"] == words(f"{text} ж")


@given(st.text())
def test_any_text_has_words_or_none(text):
    assert all(word and not word.isspace() for word in words(text))


# As numbers


def pattern(tokens):
    """Where each word stood first."""
    first = {}
    return [first.setdefault(token, place) for place, token in enumerate(tokens)]


def assert_numbers_stand_for_words(texts):
    pairs = [(text, read) for text in texts if (read := narrowed(text)) is not None]
    texts = [text for text, _ in pairs]
    numbers, ends = numbered([read for _, read in pairs])
    assert numbers.shape == (ends[-1] if texts else 0, 2)
    begin = 0
    for text, end in zip(texts, ends.tolist(), strict=True):
        of_text = [tuple(pair) for pair in numbers[begin:end].tolist()]
        assert pattern(of_text) == pattern(words(text)), text
        begin = end


narrow = bytes(range(256)).decode("cp1252", "ignore")
some_texts = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.text(st.characters(codec="ascii"), max_size=60),
        st.text(st.sampled_from("aB9_'-. \n\x00\x1c"), max_size=60),
        st.text(st.sampled_from("aàÀsSßẞ’'-_ ²µμſ"), max_size=60),
        st.text(st.sampled_from(narrow), max_size=60),
        # Words of eight, sixteen and more bytes that differ at either end.
        st.lists(
            st.builds(
                lambda begin, n, end: begin + "x" * n + end,
                st.sampled_from(["", "a", "à", "À"]),
                st.integers(0, 20),
                st.sampled_from(["", "a", "b", "B"]),
            ),
            max_size=12,
        ).map(" ".join),
    ),
    max_size=6,
)


def test_texts_in_latin_letters_are_narrow():
    assert narrowed("aZ_0 ~\x00") == b"aZ_0 ~\x00"
    assert narrowed("isn’t “Straße” – café, €5…") is not None
    assert [narrowed(text) for text in ("水", "ж", "e\u0301", "\ud800", "\x81")] == [None] * 5


@given(some_texts)
@example([])
@example(["", "", "\ud800", "ß ss SS ẞ"])
def test_numbers_stand_for_words(texts):
    assert_numbers_stand_for_words(texts)


def test_numbers_stand_for_words_whatever_the_character():
    letters = map(chr, (*range(0x3100), 0xD800, 0xFB01, 0x1F600))
    texts = [f"a{c}b {c} {c.lower()} {c.upper()}{c} '{c}-{c}'{c} {c.casefold()} -" for c in letters]
    assert_numbers_stand_for_words(texts)
    assert_numbers_stand_for_words([f"{a}{b} {a}'{b} {b}{a}" for a in narrow for b in narrow[32:]])


def test_numbers_stand_for_words_of_alpaca(shared_data):
    path = shared_data / "instructions" / "alpaca_data.json"
    texts = [row["output"] for row in json.loads(path.read_text(encoding="utf-8"))]
    assert_numbers_stand_for_words(texts[:5_000] + [t for t in texts[5_000:] if not t.isascii()])


def plain_repeats(numbers, ends):
    pairs, begin = [], 0
    for end in ends:
        last = {}
        for place in range(begin, end):
            token = tuple(numbers[place])
            if token in last:
                pairs.append((place, last[token]))
            last[token] = place
        begin = end
    return pairs


#: Two words of one hash, by which they are sorted: the last bit is cut off.
_BITS = (1 << 64) - 1
_HASH = (1 * int(_MIX)) & _BITS
_OTHER = (((_HASH * int(_MIX)) & _BITS) ^ 1) * pow(int(_MIX), -1, 1 << 64) & _BITS
ALIKE = [(1, 0), (1, _OTHER ^ _HASH)]


@given(
    st.lists(
        st.lists(st.sampled_from([*ALIKE, (2, 0), (0, 0), (0, 1), (_BITS, _BITS)]), max_size=12),
        min_size=1,
        max_size=6,
    )
)
@example([[*ALIKE, *ALIKE, *ALIKE]])
def test_repeats_are_those_a_plain_search_finds(texts):
    numbers = np.array([pair for text in texts for pair in text], dtype=np.uint64).reshape(-1, 2)
    ends = np.cumsum([len(text) for text in texts])

    later, earlier = repeats(numbers, ends)

    found = sorted(zip(later.tolist(), earlier.tolist(), strict=True))
    assert found == plain_repeats(numbers.tolist(), ends.tolist())


def test_the_words_said_to_share_a_hash_do():
    first, second = np.array(ALIKE, dtype=np.uint64).T
    one, other = (first * _MIX ^ second) * _MIX
    assert one != other
    assert one >> np.uint64(1) == other >> np.uint64(1)
