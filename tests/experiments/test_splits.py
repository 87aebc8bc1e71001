from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from instructmining.errors import ExperimentError
from instructmining.examples import Example, Turn, normalised_prompt
from instructmining.experiments.splits import (
    PARTS,
    assign_parts,
    evaluation_part,
    prompt_hash,
)

#: SHA-256 over the sorted hashes of the pilot prompts; a change breaks every later result.
GOLDEN_PILOT = "b30dce1d1ceb4f9a7c331339d3c4333dd7217e04f6ad515502ed703b3ecd9d10"
HUMAN = "eval/self_instruct_human_eval/user_oriented_instructions.jsonl"
DAVINCI = "eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl"


def example(row: int, prompt: str, response: str = "answer") -> Example:
    return Example(row, (Turn("user", prompt),), response)


def read_by_hand(path: Path) -> list[Example]:
    examples = []
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        record = json.loads(line)
        instance = record["instances"][0] if "instances" in record else record
        answer = instance["output"] if "instances" in record else record["response"]
        prompt = record["instruction"] + "\n\n" + instance["input"]
        examples.append(example(row, prompt, answer))
    return examples


def read_pool(path: Path) -> list[Example]:
    from instructmining.formats import open_pool

    return list(open_pool(path).examples())


def pilot_hash(examples: list[Example]) -> str:
    prompts = {normalised_prompt(e.turns) for e in evaluation_part(examples, "pilot")}
    return hashlib.sha256("\n".join(sorted(map(prompt_hash, prompts))).encode()).hexdigest()


@pytest.mark.parametrize("read", [read_by_hand, read_pool])
@pytest.mark.parametrize("file", [HUMAN, DAVINCI])
def test_real_files_keep_the_golden_parts(shared_data, read, file):
    examples = read(shared_data / file)
    sizes = {part: len(evaluation_part(examples, part)) for part in PARTS}
    assert sizes == dict(PARTS)
    assert pilot_hash(examples) == GOLDEN_PILOT


def test_parts_do_not_depend_on_file_order_white_space_or_unicode_form():
    prompts = [f"Café number {i}\n\ttell me more" for i in range(50)]
    plain = [example(i, prompt) for i, prompt in enumerate(prompts)]
    varied = [
        example(i, "  " + prompt.replace("é", "e\u0301").replace("\n\t", " \u00a0 "))
        for i, prompt in enumerate(prompts)
    ]
    random.Random(1).shuffle(varied)
    for part in PARTS:
        ours = {e.row for e in evaluation_part(plain, part)}
        theirs = {e.row for e in evaluation_part(varied, part)}
        assert ours == theirs


def test_system_turns_do_not_move_a_prompt():
    plain = [example(i, f"prompt {i}") for i in range(30)]
    chat = [Example(e.row, (Turn("system", f"You are {e.row}."), *e.turns), "x") for e in plain]
    for part in PARTS:
        ours, theirs = evaluation_part(plain, part), evaluation_part(chat, part)
        assert [e.row for e in ours] == [e.row for e in theirs]


def test_a_repeated_prompt_is_in_one_part_with_all_its_rows():
    examples = [example(i, f"prompt {i % 20}", f"answer {i}") for i in range(60)]
    seen: Counter[str] = Counter()
    rows: list[int] = []
    for part in PARTS:
        chosen = evaluation_part(examples, part)
        seen.update({normalised_prompt(e.turns) for e in chosen})
        rows += [e.row for e in chosen]
    assert sorted(rows) == list(range(60))
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 80, 251, 252, 253, 1000])
def test_other_sizes_are_cut_in_proportion_and_nothing_is_lost(n):
    assigned = assign_parts([f"prompt {i}" for i in range(n)])
    assert len(assigned) == n
    counts = Counter(assigned.values())
    for part, size in PARTS.items():
        assert abs(counts[part] - n * size / 252) <= 1


def test_a_subset_keeps_its_parts_when_told_the_reference_prompts():
    examples = [example(i, f"prompt {i}") for i in range(252)]
    whole = {e.row for e in evaluation_part(examples, "fit")}
    prompts = [e.prompt for e in examples]
    half = examples[::2]
    assert {e.row for e in evaluation_part(half, "fit", prompts=prompts)} == {
        row for row in whole if row % 2 == 0
    }
    with pytest.raises(ExperimentError, match="row 252 has a prompt outside"):
        evaluation_part([*half, example(252, "new")], "fit", prompts=prompts)


def test_salt_and_part_sizes_matter():
    prompts = [f"prompt {i}" for i in range(100)]
    assert assign_parts(prompts) != assign_parts(prompts, salt="other")
    halves = Counter(assign_parts(prompts, {"first": 1, "second": 1}).values())
    assert halves == {"first": 50, "second": 50}


def test_all_is_the_whole_file_without_rows_that_have_no_response():
    examples = [example(0, "a"), example(1, "b", "  "), example(2, "c")]
    assert [e.row for e in evaluation_part(examples, "all")] == [0, 2]


def test_errors_are_one_clear_line():
    with pytest.raises(ExperimentError, match=r"^file.jsonl: no part 'test'; parts are pilot, "):
        evaluation_part([example(0, "a")], "test", name="file.jsonl")
    with pytest.raises(ExperimentError, match="part 'pilot' holds no row"):
        evaluation_part([example(0, "a")], "pilot")
    for parts in ({}, {"all": 3}, {"pilot": 0}):
        with pytest.raises(ExperimentError, match="cannot split"):
            assign_parts(["a"], parts)


def test_lone_surrogates_are_hashed():
    assert assign_parts(["bad \ud800 text"], {"only": 1}) == {"bad \ud800 text": "only"}
