from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructmining.errors import ExperimentError
from instructmining.evaluation import inference_loss as module
from instructmining.evaluation.inference_loss import (
    InferenceLoss,
    inference_loss,
    training_sequence,
)
from instructmining.examples import Example, Turn
from instructmining.models.causal import load_causal_lm
from instructmining.models.chat import ChatTokenizer
from models.tiny import files_of, save_causal_lm, save_chat_tokenizer
from texts import examples_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_causal_lm(files_of(folder), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def chat(folder: Path) -> ChatTokenizer:
    return ChatTokenizer(folder)


def straight(model: Any, tokenizer: Any, examples: Sequence[Example]) -> tuple[list[float], list]:
    """One example at a time, logits of every position, the template as the tokenizer renders it."""
    sums, counts = [], []
    for example in examples:
        messages = [{"role": turn.role, "content": turn.content} for turn in example.turns]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        reference = [*tokenizer(example.response)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([[*prompt, *reference]])
        with torch.no_grad():
            log_p = model(input_ids=ids).logits[0].double().log_softmax(-1)
        total = 0.0
        for position in range(len(prompt), ids.shape[1]):
            total -= float(log_p[position - 1, ids[0, position]])
        sums.append(total)
        counts.append(len(reference))
    return sums, counts


def test_sums_equal_a_straight_line_computation(model, chat):
    examples = examples_of(12)
    loss = inference_loss(model, chat, examples)
    sums, counts = straight(model, chat.tokenizer, examples)
    np.testing.assert_allclose(loss.nll_sums, sums, rtol=1e-5)
    assert loss.n_tokens.tolist() == counts
    assert loss.nll_sums.std() > 1  # a loss that is the same everywhere would prove nothing


@pytest.mark.parametrize("budget", [1, 150, 100_000])
def test_batches_and_order_do_not_matter(model, chat, monkeypatch, budget):
    examples = examples_of(12)
    expected = inference_loss(model, chat, examples)
    monkeypatch.setattr(module, "token_budget", lambda device: budget)
    order = np.random.default_rng(budget).permutation(len(examples))
    loss = inference_loss(model, chat, [examples[i] for i in order])
    np.testing.assert_allclose(loss.nll_sums, expected.nll_sums[order], rtol=1e-5)
    assert loss.n_tokens.tolist() == expected.n_tokens[order].tolist()


def test_a_model_in_training_mode_is_measured_in_evaluation_mode(model, chat):
    examples = examples_of(3)
    expected = inference_loss(model, chat, examples)
    attention = [layer.self_attn for layer in model.model.layers]
    for one in attention:
        one.attention_dropout = 0.5
    try:
        model.train()
        assert inference_loss(model, chat, examples).nll_sums.tolist() == expected.nll_sums.tolist()
    finally:
        for one in attention:
            one.attention_dropout = 0.0
        model.eval()


def test_the_two_means_count_alike_what_their_names_say():
    loss = InferenceLoss(np.array([2.0, 9.0]), np.array([1, 3]))
    assert loss.token_mean == pytest.approx(11 / 4)
    assert loss.example_mean == pytest.approx((2 + 3) / 2)
    assert loss.to_json() == {
        "n_examples": 2,
        "n_tokens": 4,
        "nll_sum": 11.0,
        "token_mean": 2.75,
        "example_mean": 2.5,
        "per_example": [[2.0, 1], [9.0, 3]],
    }


def test_a_response_that_was_cut_has_no_end(model, folder):
    short = ChatTokenizer(folder, max_tokens=60)
    whole = Example(0, (Turn("user", "abc"),), "defg")
    long = Example(1, (Turn("user", "abc"),), "x" * 200)
    kept, cut = short.tokenise([whole, long])
    assert kept is not None and cut is not None
    assert training_sequence(kept).ids[-1] == kept.end
    assert training_sequence(kept).n_targets == len(kept.response) + 1
    assert "truncated_response" in cut.flags
    sequence = training_sequence(cut)
    assert sequence.n_targets == len(cut.response) < 200
    assert cut.end not in sequence.ids[-sequence.n_targets :]
    loss = inference_loss(model, short, [whole, long])
    assert loss.n_tokens.tolist() == [len(kept.response) + 1, len(cut.response)]


def test_only_the_prompt_is_no_target(chat):
    (tokens,) = chat.tokenise(examples_of(1))
    assert tokens is not None
    sequence = training_sequence(tokens)
    assert sequence.ids.tolist() == [*tokens.prompt, *tokens.response, tokens.end]
    assert sequence.n_targets == len(tokens.response) + 1
    skipped = training_sequence(tokens, skip=5)
    assert skipped.ids.tolist() == sequence.ids[5:].tolist()
    assert skipped.n_targets == sequence.n_targets


def test_a_row_without_a_response_is_refused(model, chat):
    blank = Example(7, (Turn("user", "abc"),), " \n")
    with pytest.raises(ExperimentError, match=r"row 7 .*no response"):
        inference_loss(model, chat, [*examples_of(2), blank])


def test_a_row_whose_turns_the_template_refuses_is_refused(model, tmp_path):
    template = "{{ raise_exception('no system turn') if messages[0]['role'] == 'system' else '' }}"
    strict = ChatTokenizer(save_chat_tokenizer(tmp_path, template=template))
    alone = Example(7, (Turn("system", "abc"),), "a response")
    with pytest.raises(ExperimentError, match=r"row 7 .*template refuses"):
        inference_loss(model, strict, [alone])


def test_an_empty_evaluation_set_is_refused(model, chat):
    with pytest.raises(ExperimentError, match="at least one"):
        inference_loss(model, chat, [])
