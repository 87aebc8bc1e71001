from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import AnswerLog, Writing, write_answers
from instructmining.examples import Example, Turn
from instructmining.models.causal import load_causal_lm
from instructmining.models.chat import ChatTokenizer
from models.tiny import REFUSE_LONG, files_of, save_causal_lm, save_chat_tokenizer
from texts import examples_of

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PROMPTS = examples_of(9, seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(folder: Path):
    return load_causal_lm(files_of(folder), CPU, torch.float32)


@pytest.fixture(scope="module")
def chat(folder: Path) -> ChatTokenizer:
    return ChatTokenizer(folder)


def alone(model, chat, example: Example, n: int) -> list[int]:
    """The likeliest token again and again, computed one at a time."""
    (tokens,) = chat.tokenise([Example(0, example.turns, "")])
    ids = torch.tensor(tokens.prompt.astype(int))[None]
    written: list[int] = []
    with torch.inference_mode():
        while len(written) < n:
            written.append(int(model(input_ids=ids).logits[0, -1].argmax()))
            if written[-1] == chat.end:
                break
            ids = torch.cat([ids, torch.tensor([[written[-1]]])], dim=1)
    return written


def test_answers_of_a_batch_are_those_written_one_token_at_a_time(model, chat):
    found = write_answers(model, chat, PROMPTS, Writing(12))
    for example, answer in zip(PROMPTS, found, strict=True):
        ids = alone(model, chat, example, 12)
        assert answer.n_tokens == len(ids)
        assert answer.ended is (ids[-1] == chat.end)
        body = ids[:-1] if answer.ended else ids
        assert answer.text == chat.tokenizer.decode(body, skip_special_tokens=True).strip()


def test_an_answer_ends_where_the_model_ends_it(model, chat):
    # With a head that always likes the end token best.
    with torch.no_grad():
        head = model.get_output_embeddings()
        before = head.weight.clone()
        head.weight.zero_()
        bias = torch.nn.Parameter(torch.zeros(len(head.weight)))
        bias[chat.end] = 1.0
        head.bias = bias
    try:
        found = write_answers(model, chat, PROMPTS[:2], Writing(5))
    finally:
        with torch.no_grad():
            head.weight.copy_(before)
            head.bias = None
    assert [(one.text, one.n_tokens, one.ended) for one in found] == [("", 1, True)] * 2


def test_what_stands_as_a_response_is_not_looked_at(model, chat):
    other = [Example(one.row, one.turns, "something else entirely") for one in PROMPTS]
    how = Writing(6)
    assert write_answers(model, chat, PROMPTS, how) == write_answers(model, chat, other, how)


def test_draws_repeat_by_seed_and_differ_between_seeds(model, chat):
    def texts(seed: int) -> list[str]:
        how = Writing(12, temperature=1.5, seed=seed)
        return [one.text for one in write_answers(model, chat, PROMPTS, how)]

    assert texts(0) == texts(0) != texts(1)


def test_a_prompt_the_template_refuses_is_named(tmp_path, model):
    save_chat_tokenizer(tmp_path, template=REFUSE_LONG)
    long = Example(7, tuple(Turn(role, "x") for role in ("user", "assistant", "user")), "")
    with pytest.raises(ExperimentError, match="prompt in row 7 cannot be asked"):
        write_answers(model, ChatTokenizer(tmp_path), [PROMPTS[0], long])


@pytest.mark.parametrize(
    "changes", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_a_way_of_writing_nothing_is_refused(changes):
    with pytest.raises(ExperimentError, match="give at least 1, at least 0"):
        Writing(**changes)


def test_the_file_of_answers_says_what_it_is(tmp_path):
    (tmp_path / "answers.jsonl").write_text("no answers\n")
    with pytest.raises(ExperimentError, match="is not a file of answers"):
        AnswerLog(tmp_path / "answers.jsonl")
