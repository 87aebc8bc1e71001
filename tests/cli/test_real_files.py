"""The real files: every row is scored by the columns that run no model, or flagged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from instructmining.api import Scoring, load_examples, score
from instructmining.errors import InputError

HUMAN_EVAL = "eval/self_instruct_human_eval"
#: Rows of every data file that holds responses.
FILES = {
    "instructions/alpaca_data.json": 52_002,
    "instructions/code_alpaca_2k.json": 2_017,
    "instructions/dolly_3k.json": 2_996,
    "instructions/gpteacher_codegen.json": 4_535,
    "instructions/gpteacher_roleplay.json": 1_923,
    "instructions/gsm_8k_train.json": 7_473,
    "instructions/guanaco_1k_first_turn.jsonl": 1_000,
    "instructions/lima_1029_with_source.jsonl": 1_029,
    "instructions/seed_tasks.jsonl": 175,
    "eval/mt_bench/reference_answer/gpt-4.jsonl": 30,
    f"{HUMAN_EVAL}/user_oriented_instructions.jsonl": 252,
    "eval/vicuna_bench/reference_answer/gpt-4.jsonl": 10,
}
PREDICTIONS = 8
WITHOUT_RESPONSES = {
    "eval/judge_prompts.jsonl",
    "eval/mt_bench/question.jsonl",
    "eval/vicuna_bench/question.jsonl",
    "eval/wizardlm_test_set.jsonl",
}
COLUMNS = ("len_in", "len_out", "len", "mtld")
#: Rows scored of a large file where the whole is for the slow tests.
SAMPLE = 800


@pytest.fixture(scope="module")
def word_tokenizer(tmp_path_factory):
    """A model folder whose tokenizer gives one token per word or run of marks."""
    tokenizer = Tokenizer(models.WordLevel({"any": 0}, unk_token="any"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("word-tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"none": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def data_files(shared_data):
    found = (
        path
        for folder in ("instructions", "eval")
        for path in (shared_data / folder).rglob("*.json*")
    )
    return {str(path.relative_to(shared_data)): path for path in found}


def test_no_data_file_is_left_out(shared_data):
    names = set(data_files(shared_data))
    predictions = {name for name in names if name.startswith(f"{HUMAN_EVAL}/predictions/")}
    assert len(predictions) == PREDICTIONS
    assert names == set(FILES) | WITHOUT_RESPONSES | predictions


@pytest.mark.parametrize("name", sorted(WITHOUT_RESPONSES))
def test_a_file_without_responses_says_so(shared_data, name):
    with pytest.raises(InputError, match="no column holds a response"):
        load_examples(shared_data / name)


def check(examples, store, tokenizer):
    """Score, and return how many rows have every column."""
    table = score(examples, COLUMNS, scoring=Scoring(lm=str(tokenizer), store=store))
    frame = table.frame
    assert frame["row"].to_list() == list(range(len(examples)))
    assert frame["example"].to_list() == [example.digest for example in examples]
    whole = 0
    for row in frame.iter_rows(named=True):
        missing = [name for name in COLUMNS if row[name] is None]
        whole += not missing
        assert not missing or row["flags"], row
        if row["len_out"] is not None:
            assert row["len"] == row["len_in"] + row["len_out"]
            assert row["len_out"] > 0
        assert row["mtld"] is None or row["mtld"] >= 1
    return whole


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_row_is_scored_or_flagged(shared_data, name, tmp_path, word_tokenizer):
    examples = load_examples(shared_data / name)
    assert len(examples) == FILES[name]
    if len(examples) > SAMPLE:
        # What is odd about rows shows in their flags and in very short responses.
        step = len(examples) // SAMPLE
        odd = [e for e in examples if e.flags or len(e.response) < 3]
        chosen = {e.row: e for e in [*examples[::step], *odd[:SAMPLE]]}
        examples = [replace(e, row=row) for row, e in enumerate(chosen.values())]
    assert check(examples, tmp_path, word_tokenizer) >= 0.8 * len(examples)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, rows in FILES.items() if rows > SAMPLE))
def test_every_single_row_is_scored_or_flagged(shared_data, name, tmp_path, byte_tokenizer):
    examples = load_examples(shared_data / name)
    assert check(examples, tmp_path, byte_tokenizer) >= 0.99 * len(examples)


def test_every_prediction_is_scored_or_flagged(shared_data, tmp_path, word_tokenizer):
    files = sorted((shared_data / HUMAN_EVAL / "predictions").glob("*.jsonl"))
    assert len(files) == PREDICTIONS
    for file in files:
        examples = load_examples(file)
        assert len(examples) == 252
        assert check(examples, tmp_path, word_tokenizer) >= 0.75 * len(examples)


@pytest.mark.models
def test_lengths_of_the_default_tokenizer(shared_data, tmp_path):
    from instructmining.models.sources import DEFAULT_LM, is_ready

    if not is_ready(DEFAULT_LM):
        pytest.skip(f"{DEFAULT_LM} is not there; run `instructmining download`")
    examples = load_examples(shared_data / "instructions/seed_tasks.jsonl")
    assert check(examples, tmp_path, DEFAULT_LM) >= 0.95 * len(examples)
