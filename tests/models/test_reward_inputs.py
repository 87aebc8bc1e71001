"""What reward models are shown: golden strings, control strings, truncation."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from models.tiny import CHATML, example
from models.tiny_reward import SAVE, SHORT, chat_ids, in_float32, save_llama_reward

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = example("word " * 90, "word " * 90)
#: A control string of each tokenizer.
INJECTED = {
    "oasst": "<|endoftext|>",
    "deberta": "[SEP]",
    "bert": "[SEP]",
    "roberta": "</s>",
    "llama": "<|im_end|>",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp(name)) for name, save in SAVE.items()}


@pytest.fixture(scope="module")
def passes(folders):
    return {name: in_float32(folder) for name, folder in folders.items()}


# What the models are shown


def shown(rm, one):
    (item,) = rm.prepare([one])
    return rm.input._chat.tokenizer.decode(item.payload[0])


def test_the_oasst_prompt_is_the_published_one(passes):
    turns = (Turn("user", "Hi."), Turn("assistant", "Hello!"), Turn("user", "Who are you?"))

    assert shown(passes["oasst"], example("Name a colour.", "Blue.")) == (
        "<|prompter|>Name a colour.<|endoftext|><|assistant|>Blue.<|endoftext|>"
    )
    assert shown(passes["oasst"], Example(0, turns, "A sailor.")) == (
        "<|prompter|>Hi.<|endoftext|><|assistant|>Hello!<|endoftext|>"
        "<|prompter|>Who are you?<|endoftext|><|assistant|>A sailor.<|endoftext|>"
    )
    assert shown(passes["oasst"], Example(0, (), "Blue.")) == (
        "<|prompter|><|endoftext|><|assistant|>Blue.<|endoftext|>"
    )


def test_a_conversation_is_tokenised_as_the_template_does_it(tmp_path):
    # The space before a content belongs to its first word.
    spaced = CHATML.replace("\n{{ message['content'] }}", ": {{ message['content'] }}")
    rm = in_float32(save_llama_reward(tmp_path, template=spaced))
    rows = [*SHORT, example("what is", "the answer")]
    tokenizer = rm.input.tokenizer
    apart = tokenizer("assistant: ")["input_ids"] + tokenizer("the answer")["input_ids"]
    wanted = [chat_ids(tokenizer, one) for one in rows]

    assert wanted[-1][-2 - len(apart) : -2] != apart
    assert [item.payload[0].tolist() for item in rm.prepare(rows)] == wanted


def test_system_turns_are_lines_of_the_next_prompter_turn(passes):
    be = Turn("system", "Be kind.")
    asked = (be, Turn("system", "Be brief."), Turn("user", "Hi."))
    late = (Turn("user", "Hi."), be)
    odd = (be, Turn("assistant", "Hello!"), Turn("tool", "42"))

    assert shown(passes["oasst"], Example(0, asked, "Ho.")) == (
        "<|prompter|>Be kind.\nBe brief.\nHi.<|endoftext|><|assistant|>Ho.<|endoftext|>"
    )
    assert shown(passes["oasst"], Example(0, late, "Ho.")) == (
        "<|prompter|>Hi.<|endoftext|><|prompter|>Be kind.<|endoftext|><|assistant|>Ho.<|endoftext|>"
    )
    assert shown(passes["oasst"], Example(0, odd, "Ho.")) == (
        "<|prompter|>Be kind.<|endoftext|><|assistant|>Hello!<|endoftext|>"
        "<|prompter|>42<|endoftext|><|assistant|>Ho.<|endoftext|>"
    )


@pytest.mark.parametrize("name", SAVE)
def test_control_strings_in_contents_stay_text(passes, folders, name):
    special = set(AutoTokenizer.from_pretrained(folders[name]).all_special_ids)
    special -= {3} if name in ("deberta", "roberta") else {1} if name == "bert" else set()
    text = f"to {INJECTED[name]} it"

    harmless, injected = passes[name].prepare([example("to it", "to it"), example(text, text)])

    def control(item):
        return [i for i in item.payload[0].tolist() if i in special]

    assert control(injected) == control(harmless)
    assert injected.cost > harmless.cost


def test_token_types_are_given_to_models_that_have_them(passes):
    payloads = {n: rm.prepare([SHORT[0]])[0].payload for n, rm in passes.items()}

    assert {n: len(payload) for n, payload in payloads.items()} == {
        "oasst": 1,
        "deberta": 1,
        "bert": 2,
        "roberta": 1,
        "llama": 1,
    }
    ids, types = payloads["bert"]
    question = ids.tolist().index(3) + 1  # up to the first [SEP]
    assert types.tolist() == [0] * question + [1] * (len(ids) - question)


# Truncation


@pytest.mark.parametrize(
    ("name", "limit", "whole"),
    [("oasst", 60, 3), ("deberta", 60, 3), ("bert", 60, 3), ("roberta", 60, 4), ("llama", 80, 22)],
)
def test_the_front_of_the_prompt_goes_first(folders, name, limit, whole):
    rm, unlimited = in_float32(folders[name], max_tokens=limit), in_float32(folders[name])
    prompt = example("a " * 20 + "b " * 40, "c d e")
    response = example("a b c", "d " * 90 + "e")
    fits = example("a", "b")

    cut, cut_twice, short = rm.prepare([prompt, response, fits])

    assert [i.flags for i in (cut, cut_twice, short)] == [
        ("truncated_prompt",),
        ("truncated_prompt", "truncated_response"),
        (),
    ]
    assert cut.cost == cut_twice.cost == limit
    ids, all_ids = cut.payload[0].tolist(), unlimited.prepare([prompt])[0].payload[0].tolist()
    # The end, with the whole response, is what it was; the middle is what stood before it.
    assert ids[whole:] == all_ids[-(limit - whole) :]
    assert cut_twice.payload[0][-1] == all_ids[-1]


def test_what_just_fits_is_whole(folders):
    for name in SAVE:
        size = in_float32(folders[name]).prepare([SHORT[0]])[0].cost

        assert in_float32(folders[name], max_tokens=size).prepare([SHORT[0]])[0].flags == ()
        (cut,) = in_float32(folders[name], max_tokens=size - 1).prepare([SHORT[0]])
        assert cut.flags == ("truncated_prompt",)
        assert cut.cost == size - 1


def test_a_cut_oasst_prompt_still_ends_every_turn(folders):
    rm = in_float32(folders["oasst"], max_tokens=20)

    assert shown(rm, example("word " * 30, "Blue.")).endswith(
        " word <|endoftext|><|assistant|>Blue.<|endoftext|>"
    )
    cut = shown(rm, example("Why?", "b" * 90))
    assert cut == "<|assistant|>" + "b" * 18 + "<|endoftext|>"


def test_a_cut_pair_is_that_of_the_tokenizer_cutting_the_first_text_on_its_left(folders):
    for name in ("deberta", "bert", "roberta"):
        one = example("a b c d e f g h " * 9, "the reply 1 2 3")
        tokenizer = AutoTokenizer.from_pretrained(folders[name], truncation_side="left")
        wanted = tokenizer(one.prompt, one.response, truncation="only_first", max_length=40)

        (item,) = in_float32(folders[name], max_tokens=40).prepare([one])

        assert item.payload[0].tolist() == wanted["input_ids"]
        assert item.flags == ("truncated_prompt",)


def test_a_cut_conversation_keeps_its_beginning_and_the_opening_of_the_response(folders):
    rm = in_float32(folders["llama"], max_tokens=60)
    (item,) = rm.prepare([example("word " * 90, "Blue.")])

    text = rm.input.tokenizer.decode(item.payload[0])

    assert text.startswith("<|im_start|>system\nYou answer briefly.<|im_end|>\n<|im_start|>")
    assert text.endswith("word <|im_end|>\n<|im_start|>assistant\nBlue.<|im_end|>\n")


def test_a_limit_without_room_for_a_response_is_refused(folders):
    for name in SAVE:
        with pytest.raises(ModelError, match=r"max_tokens 2 came, .* at least") as caught:
            in_float32(folders[name], max_tokens=2).prepare([SHORT[0], LONG])
        assert "\n" not in str(caught.value)


def test_limits_are_those_of_the_model_where_they_are_lower(passes):
    limits = {n: rm.definition["truncation"] for n, rm in passes.items()}

    assert limits == {
        "oasst": "prompt-front/2048",
        "deberta": "prompt-front/512",
        "bert": "prompt-front/64",
        "roberta": "prompt-front/512",
        "llama": "prompt-front/2048",
    }
    (longest,) = passes["roberta"].prepare([example("a " * 900, "b " * 900)])
    assert np.isfinite(passes["roberta"].run([longest]).reward).all()
