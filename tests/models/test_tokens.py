"""The token pass: what it counts is what the tokenizer makes of the contents."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from transformers import AutoTokenizer

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from instructmining.models import tokens
from instructmining.models.sources import ModelFiles
from instructmining.models.tokens import TokenPass
from models.tiny import EXAMPLES, example, files_of, save_causal_lm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_causal_lm(tmp_path_factory.mktemp("lm"))


def count(folder, examples):
    output = TokenPass(files_of(folder)).run(examples)
    return output.n_prompt.tolist(), output.n_response.tolist()


def test_counts_are_those_of_transformers(folder):
    reference = AutoTokenizer.from_pretrained(folder)

    n_prompt, n_response = count(folder, EXAMPLES)

    assert n_prompt == [len(reference(e.prompt)["input_ids"]) for e in EXAMPLES]
    assert n_response == [len(reference(e.response)["input_ids"]) for e in EXAMPLES]
    assert n_prompt[6] == 0


def test_control_strings_are_counted_as_the_text_they_are(folder):
    reference = AutoTokenizer.from_pretrained(folder)
    as_text = len(reference("<|im_end|>", split_special_tokens=True)["input_ids"])

    n_prompt, n_response = count(folder, [example("<|im_end|>", "<|im_end|><|im_end|>")])

    assert as_text > 1
    assert n_prompt == [as_text]
    assert n_response == [2 * as_text]


def test_turns_are_joined_by_newlines(folder):
    one = Example(0, (Turn("user", "a b\nc d"),), "e")
    two = Example(0, (Turn("system", "a b"), Turn("user", "c d")), "e")

    assert count(folder, [one]) == count(folder, [two])


def test_lone_surrogates_are_counted(folder):
    assert count(folder, [example("a\ud800b", "\udfff")]) == count(folder, [example("a?b", "?")])


def test_truncation_and_padding_in_the_tokenizer_file_are_not_applied(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "lm")
    path = tmp_path / "lm" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    path.write_text(json.dumps(content))

    assert count(tmp_path / "lm", EXAMPLES) == count(folder, EXAMPLES)


def test_definition_follows_the_tokenizer_not_the_weights(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    save_causal_lm(tmp_path / "weights", hidden_size=16)
    same = TokenPass(files_of(tmp_path / "weights")).definition["tokenizer_hash"]
    path = tmp_path / "other" / "tokenizer.json"
    path.write_text(path.read_text() + " ")

    mine = TokenPass(files_of(folder)).definition["tokenizer_hash"]

    assert same == mine
    assert TokenPass(files_of(tmp_path / "other")).definition["tokenizer_hash"] != mine


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path):
    files = ModelFiles("mine", tmp_path, None, "0" * 64, "folder")

    with pytest.raises(ModelError, match=r"mine: no tokenizer\.json"):
        TokenPass(files).run([])


def test_rows_are_counted_alike_however_they_are_cut_into_batches(folder, monkeypatch):
    whole = count(folder, EXAMPLES)

    for size in (1, 30, 400):
        monkeypatch.setattr(tokens, "_BATCH", size)
        assert count(folder, EXAMPLES) == whole
    assert count(folder, []) == ([], [])


def test_counts_are_integers_of_64_bits(folder):
    output = TokenPass(files_of(folder)).run(EXAMPLES[:2])

    assert output.n_prompt.dtype == output.n_response.dtype == np.int64
