"""The hand-written demo pool: valid, mixed as promised, and free of templates."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

import pytest

POOL = Path(__file__).resolve().parents[2] / "examples" / "demo_pool.jsonl"
COLUMNS = ("instruction", "input", "output", "defect")
DEFECTS = {
    "none",
    "terse",
    "rambling",
    "off_topic",
    "wrong_language",
    "truncated",
    "garbled",
    "duplicate",
}
NGRAM = 5
MAX_JACCARD = {"instruction": 0.2, "output": 0.1}
MAX_OPENING_SHARE = 0.02
MIN_FRAME_WORDS = 6
ENGLISH = frozenset(
    ("the", "and", "of", "to", "is", "that", "it", "you", "in", "with", "for", "are", "not", "this")
)

Row = dict[str, str]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def ngrams(text: str) -> frozenset[tuple[str, ...]]:
    """Return the word 5-grams of a text; a shorter text is one gram of its own."""
    tokens = words(text)
    if not tokens:
        return frozenset({(text.strip(),)})
    return frozenset(tuple(tokens[i : i + NGRAM]) for i in range(max(1, len(tokens) - NGRAM + 1)))


def near_duplicates(texts: list[str], bound: float) -> list[tuple[float, str, str]]:
    """Return every pair of texts whose 5-gram Jaccard similarity reaches ``bound``."""
    grams = [ngrams(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, own in enumerate(grams):
        for gram in own:
            holders[gram].append(index)
    shared = Counter(
        (first, second)
        for rows in holders.values()
        for position, first in enumerate(rows)
        for second in rows[position + 1 :]
    )
    found = []
    for (first, second), common in shared.items():
        similarity = common / (len(grams[first]) + len(grams[second]) - common)
        if similarity >= bound:
            found.append((round(similarity, 3), texts[first][:80], texts[second][:80]))
    return found


def sentence_frames(text: str) -> set[str]:
    """Return the sentences of at least six words, numbers and capitalised words masked."""
    frames = set()
    for sentence in re.split(r"[.!?…。؟]+|\n+", text):
        tokens = re.findall(r"\w+(?:['’]\w+)*", sentence)
        masked = [
            "#" if token[0].isdigit() else "@" if token[0].isupper() else token for token in tokens
        ]
        # A row of figures or names is no frame: something of the sentence must be left.
        if len(masked) >= MIN_FRAME_WORDS and sum(m not in "#@" for m in masked) >= 3:
            frames.add(" ".join(masked))
    return frames


def repeated_frames(rows: list[Row]) -> dict[str, list[str]]:
    """Map each sentence frame found in more than one row to these rows' instructions."""
    holders: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        text = "\n".join((row["instruction"], row["input"], row["output"]))
        for frame in sentence_frames(text):
            holders[frame].append(row["instruction"][:60])
    return {frame: where for frame, where in holders.items() if len(where) > 1}


@pytest.fixture(scope="module")
def pool() -> list[Row]:
    with POOL.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def originals(pool: list[Row]) -> list[Row]:
    return [row for row in pool if row["defect"] != "duplicate"]


@pytest.fixture(scope="module")
def by_defect(pool: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in pool:
        groups[row["defect"]].append(row)
    return groups


def test_every_record_has_the_four_columns_and_some_text(pool: list[Row]) -> None:
    assert len(pool) >= 400
    for number, row in enumerate(pool, 1):
        assert tuple(row) == COLUMNS, f"line {number}"
        assert all(isinstance(value, str) for value in row.values()), f"line {number}"
        assert row["instruction"].strip() and row["output"].strip(), f"line {number}"
        assert row["defect"] in DEFECTS, f"line {number}"


def test_any_line_reader_sees_one_record_per_line(pool: list[Row]) -> None:
    # Damaged text may hold U+0085 or U+2028, at which str.splitlines breaks a record in two.
    content = POOL.read_bytes().decode("utf-8")
    assert not content.startswith("\ufeff")
    assert content.endswith("\n")
    assert len(content.splitlines()) == len(pool)


def test_mix_of_quality(pool: list[Row], by_defect: dict[str, list[Row]]) -> None:
    counts = {defect: len(rows) for defect, rows in by_defect.items()}
    assert set(counts) == DEFECTS
    assert min(counts.values()) >= 20, counts
    assert 0.45 <= counts["none"] / len(pool) <= 0.65, counts


def test_inputs_are_common_but_not_the_rule(originals: list[Row]) -> None:
    share = sum(row["input"] != "" for row in originals) / len(originals)
    assert 0.15 <= share <= 0.5


def test_each_duplicate_copies_exactly_one_earlier_row(pool: list[Row]) -> None:
    seen: Counter[tuple[str, str, str]] = Counter()
    for number, row in enumerate(pool, 1):
        text = (row["instruction"], row["input"], row["output"])
        if row["defect"] == "duplicate":
            assert seen[text] == 1, f"line {number}: {seen[text]} earlier rows with this text"
        else:
            seen[text] += 1


@pytest.mark.parametrize("column", sorted(MAX_JACCARD))
def test_no_near_duplicates_outside_those_marked(originals: list[Row], column: str) -> None:
    texts = [row[column] for row in originals]
    assert near_duplicates(texts, MAX_JACCARD[column]) == []


@pytest.mark.parametrize("column", sorted(MAX_JACCARD))
def test_the_bound_catches_a_lightly_edited_copy(originals: list[Row], column: str) -> None:
    source = next(row[column] for row in originals if len(words(row[column])) >= 20)
    edited = re.sub(r"\w+", "elsewhere", source, count=1)
    assert len(near_duplicates([source, edited], MAX_JACCARD[column])) == 1


def test_instructions_open_in_many_ways(originals: list[Row]) -> None:
    openings = Counter(" ".join(words(row["instruction"])[:2]) for row in originals)
    opening, count = openings.most_common(1)[0]
    assert count <= MAX_OPENING_SHARE * len(originals), opening


def test_no_sentence_frame_occurs_in_two_rows(originals: list[Row]) -> None:
    assert repeated_frames(originals) == {}


def test_the_frame_check_sees_through_names_and_numbers() -> None:
    rows = [
        {"instruction": "Ask.", "input": "", "output": "We meet Anna at 10 near the old mill."},
        {"instruction": "Say.", "input": "", "output": "We meet Boris at 7 near the old mill."},
    ]
    assert list(repeated_frames(rows)) == ["@ meet @ at # near the old mill"]


def test_terse_and_rambling_rows_are_what_they_claim(by_defect: dict[str, list[Row]]) -> None:
    lengths = {
        defect: [len(words(row["output"])) for row in rows] for defect, rows in by_defect.items()
    }
    assert max(lengths["terse"]) <= 15
    assert min(lengths["rambling"]) > median(lengths["none"])
    assert min(lengths["none"]) < min(lengths["rambling"]) < max(lengths["none"])


def test_truncated_outputs_stop_inside_a_sentence(by_defect: dict[str, list[Row]]) -> None:
    ends = [row["output"].rstrip()[-1] for row in by_defect["truncated"]]
    assert not set(ends) & set(".!?")


def test_wrong_language_means_english_prompt_foreign_answer(
    by_defect: dict[str, list[Row]],
) -> None:
    def english_share(text: str) -> float:
        tokens = words(text)
        return sum(token in ENGLISH for token in tokens) / len(tokens)

    for row in by_defect["wrong_language"]:
        assert english_share(row["output"]) < 0.08, row["instruction"]
    assert median(english_share(row["output"]) for row in by_defect["none"]) > 0.1
