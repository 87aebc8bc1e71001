from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instructmining.models.chat import ChatTokenizer
from instructmining.models.remembered import RememberingTokenizer
from models.tiny import REFUSE_LONG, save_chat_tokenizer
from texts import examples_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_tokenizer(tmp_path_factory.mktemp("chat"))


def test_what_is_remembered_is_what_was_tokenised(folder, monkeypatch):
    examples = examples_of(6, seed=1)
    asked: list[int] = []
    tokenise = ChatTokenizer.tokenise

    def watch(self, batch):
        asked.append(len(batch))
        return tokenise(self, batch)

    monkeypatch.setattr(ChatTokenizer, "tokenise", watch)
    chat = RememberingTokenizer(folder, max_tokens=64)
    first = chat.tokenise([*examples[:4], examples[0]])
    assert asked == [4]  # a row that came twice is tokenised once
    again = chat.tokenise([examples[5], *examples[:4], replace(examples[1], row=77)])
    assert asked == [4, 1]
    expected = ChatTokenizer(folder, max_tokens=64)
    order = [*examples[:4], examples[0]]
    for found, plain in zip(first, tokenise(expected, order), strict=True):
        assert np.array_equal(found.prompt, plain.prompt)
        assert np.array_equal(found.response, plain.response)
    assert again[1] is first[0]
    assert again[5] is first[1]


def test_a_refusal_is_remembered(tmp_path):
    folder = save_chat_tokenizer(tmp_path, template=REFUSE_LONG)
    example = examples_of(1, seed=2)[0]
    long = replace(example, turns=example.turns * 3, row=9)
    chat = RememberingTokenizer(folder)
    assert chat.tokenise([long, example])[0] is None
    assert chat.tokenise([long])[0] is None
