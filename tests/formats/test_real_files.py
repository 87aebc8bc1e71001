"""The real files: read without configuration, every row scorable or flagged."""

from __future__ import annotations

import json

import pytest

from instructmining.errors import InputError
from instructmining.formats import open_pool, open_prompts

HUMAN_EVAL = "eval/self_instruct_human_eval"
FILES = {
    "instructions/alpaca_data.json": ("alpaca", 52_002),
    "instructions/dolly_3k.json": ("alpaca", 2_996),
    "instructions/lima_1029_with_source.jsonl": ("alpaca", 1_029),
    "instructions/guanaco_1k_first_turn.jsonl": ("alpaca", 1_000),
    "instructions/gpteacher_codegen.json": ("alpaca", 4_535),
    "instructions/gpteacher_roleplay.json": ("alpaca", 1_923),
    "instructions/code_alpaca_2k.json": ("alpaca", 2_017),
    "instructions/gsm_8k_train.json": ("alpaca", 7_473),
    "instructions/seed_tasks.jsonl": ("self_instruct", 175),
    f"{HUMAN_EVAL}/user_oriented_instructions.jsonl": ("self_instruct", 252),
    "eval/mt_bench/reference_answer/gpt-4.jsonl": ("reference_answers", 30),
    "eval/vicuna_bench/reference_answer/gpt-4.jsonl": ("reference_answers", 10),
    "judgements/cherry_alpaca_5_percent.json": ("alpaca", 3_111),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_and_shape(shared_data, name):
    shape, rows = FILES[name]
    pool = open_pool(shared_data / name)
    count = scorable = 0
    for example in pool.examples():
        assert example.row == count
        assert example.scorable or example.flags
        count += 1
        scorable += example.scorable
    assert (pool.format, count) == (shape, rows)
    assert scorable >= 0.99 * rows


def test_predictions_are_read_with_their_own_response(shared_data):
    files = sorted((shared_data / HUMAN_EVAL / "predictions").glob("*.jsonl"))
    assert len(files) == 8
    for file in files:
        records = [json.loads(line) for line in file.read_bytes().splitlines()]
        examples = list(open_pool(file).examples())
        assert len(examples) == len(records) == 252
        for example, record in zip(examples, records, strict=True):
            blank = not record["response"].strip()
            assert example.response == ("" if blank else record["response"])
            assert example.flags == (("empty_response",) if blank else ())
            assert example.prompt.startswith(record["instruction"].rstrip("\n"))
            assert example.prompt.endswith(record["input"])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("mt_bench/question.jsonl", "turns"),
        ("vicuna_bench/question.jsonl", "turns"),
        ("wizardlm_test_set.jsonl", "Instruction"),
        ("judge_prompts.jsonl", "prompt_template"),
    ],
)
def test_prompts_without_responses_are_refused(shared_data, name, column):
    with pytest.raises(InputError, match="no column holds a response") as caught:
        open_pool(shared_data / "eval" / name)
    assert column in str(caught.value)


def test_lima_has_its_earlier_rounds(shared_data):
    examples = list(open_pool(shared_data / "instructions/lima_1029_with_source.jsonl").examples())
    long = [example for example in examples if len(example.turns) > 1]
    assert long
    assert all(len(example.turns) % 2 for example in long)


@pytest.mark.parametrize(
    "name", ["gsm_8k_train.json", "gpteacher_roleplay.json", "guanaco_1k_first_turn.jsonl"]
)
def test_a_real_file_comes_back_byte_for_byte(shared_data, tmp_path, name):
    source = shared_data / "instructions" / name
    pool = open_pool(source)
    rows = FILES[f"instructions/{name}"][1]
    pool.write(range(rows), tmp_path / name)
    assert (tmp_path / name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("eval/vicuna_bench/question.jsonl", 80, "How can I improve my time management skills?"),
        ("eval/mt_bench/question.jsonl", 80, "Compose an engaging travel blog post"),
        ("eval/wizardlm_test_set.jsonl", 218, "If a car travels 120 miles in 2 hours"),
    ],
)
def test_questions_without_answers_are_prompts(shared_data, name, rows, first):
    examples = list(open_prompts(shared_data / name).examples())
    assert len(examples) == rows
    assert all(example.prompt.strip() and not example.response for example in examples)
    assert examples[0].prompt.startswith(first)
