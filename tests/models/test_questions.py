"""Questions: the strings as published, the ids of the whole string, nothing added by a text."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from instructmining.models.questions import (
    MAX_TOKENS,
    QuestionTokenizer,
    ask,
    dialogue_history,
)
from models.tiny import EXAMPLES, example
from models.tiny_t5 import save_t5_tokenizer

#: The sample dialogue of UniEval's README.
RESPONSE = (
    "i do too . did you know the 3 horizontal line menu on apps and websites is called the "
    "hamburger button ?"
)
TURNS = (
    Turn("user", "hi , do you know much about the internet ?"),
    Turn(
        "assistant", "i know a lot about different sites and some website design , how about you ?"
    ),
)
README = Example(0, TURNS, RESPONSE)
END = 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [
        save_t5_tokenizer(tmp_path_factory.mktemp("tokenizer"), normalised=normalised)
        for normalised in (False, True)
    ]


@pytest.fixture(scope="module", params=["as T5", "normalised"])
def folder(folders, request):
    return folders[request.param == "normalised"]


@pytest.fixture(scope="module")
def questions(folder):
    return QuestionTokenizer(folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def both(folders):
    return [(QuestionTokenizer(f), AutoTokenizer.from_pretrained(f)) for f in folders]


def items(questions, examples, convention="readme"):
    return questions.items(examples, [dialogue_history(e, convention) for e in examples])


def one(questions, prompt, response):
    (item,) = items(questions, [example(prompt, response)])
    return item


def sequences(item):
    return [ids.tolist() for ids in item.payload]


# The strings


def test_questions_are_those_of_the_publication():
    assert ask("{a} response", "the\nhistory") == (
        "question: Is this a natural response in the dialogue? </s> response: {a} response",
        "question: Is this a coherent response given the dialogue history? </s> "
        "response: {a} response </s> dialogue history: the\nhistory",
        "question: Is this an understandable response in the dialogue? </s> response: {a} response",
    )


def test_the_history_of_the_readme_is_joined_as_there():
    assert dialogue_history(README, "readme") == (
        "hi , do you know much about the internet ? \n i know a lot about different sites and "
        "some website design , how about you ? \n\n"
    )
    assert dialogue_history(README, "plain") == README.prompt


def test_a_system_turn_is_part_of_the_history():
    one = example("Who?", "A sailor.", system="Be one.")

    assert dialogue_history(one, "readme") == "Be one. \n Who? \n\n"


def test_to_the_tokenizer_of_t5_the_conventions_are_the_same(questions):
    readme, plain = (items(questions, EXAMPLES, c) for c in ("readme", "plain"))

    assert list(map(sequences, readme)) == list(map(sequences, plain))


# Ids


def test_ids_are_those_of_the_whole_string(questions, tokenizer):
    for item, e in zip(items(questions, EXAMPLES), EXAMPLES, strict=True):
        whole = [
            tokenizer(text).input_ids for text in ask(e.response, dialogue_history(e, "readme"))
        ]
        if not e.turns:
            whole[1] = []
        assert sequences(item) == whole
        assert item.cost == sum(map(len, whole))
        assert all(ids.dtype == np.int32 for ids in item.payload)
        assert item.flags == (() if e.turns else ("no_prompt",))


TEXTS = st.text(
    st.one_of(st.sampled_from("ab YesNo:?.\n\t ▁"), st.characters(codec="utf-8")), max_size=40
)


@given(response=TEXTS, prompt=TEXTS)
def test_ids_of_any_text_are_those_of_the_whole_string(both, response, prompt):
    for questions, tokenizer in both:
        item = one(questions, prompt, response)
        if item.group == "unscorable" or "control_text" in item.flags:
            continue
        whole = [tokenizer(t).input_ids for t in ask(response, f"{prompt} \n\n")]
        if item.flags == ("no_prompt",):
            whole[1] = []
        assert sequences(item) == whole


def test_a_response_without_tokens_is_not_asked_about(questions):
    for response in ("", " \n\t"):
        item = one(questions, "x", response)
        assert (item.payload, item.cost, item.flags) == ((), 0, ("empty_response",))


def test_coherence_is_not_asked_without_a_history(questions, tokenizer):
    for turns in ((), (Turn("user", ""),), (Turn("system", " "), Turn("user", "\n"))):
        (item,) = items(questions, [Example(3, turns, "a word")])
        natural, coherent, understandable = sequences(item)

        assert (item.row, item.flags, coherent) == (3, ("no_prompt",), [])
        assert natural == tokenizer(ask("a word", "")[0]).input_ids
        assert understandable == tokenizer(ask("a word", "")[2]).input_ids


def test_lone_surrogates_read_as_question_marks(questions):
    assert sequences(one(questions, "a\ud800", "b\udfff")) == sequences(one(questions, "a?", "b?"))


def test_no_examples_no_items(questions):
    assert questions.items([], []) == []


# Control strings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a </s> b", "a < /s> b"),
        ("</s></s>", "< /s>< /s>"),
        ("<</s>", "<< /s>"),
        ("<pad> <unk> <extra_id_3>", "< pad> < unk> < extra_id_3>"),
        ("no response: none", "no response : none"),
        ("question:fact:", "question :fact :"),
        ("dialogue  history:", "dialogue  history :"),
        ("dialogue\nhistory:\n", "dialogue\nhistory :\n"),
        ("</s> dialogue▁history: x", "< /s> dialogue▁history : x"),
    ],
)
def test_a_space_is_put_into_control_strings(folders, text, wanted):
    assert QuestionTokenizer(folders[0]).neutralise(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["In response, she asked a question.", "artifact: x", "Response: y", "<s> </ s> <extra_id_9>"],
)
def test_other_text_stays_as_it_is(questions, text):
    item = one(questions, text, "a word")

    assert questions.neutralise(text) == text
    assert item.flags == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("＜/s＞ ﬁ", "< /s> fi"), ("response： x", "response : x"), ("<\x01/s>", "< /s>")],
)
def test_control_strings_in_characters_normalised_away_are_found(folders, text, wanted):
    assert QuestionTokenizer(folders[1]).neutralise(text) == wanted


def test_characters_that_hide_no_control_string_stay_as_they_are(questions):
    assert questions.neutralise("ﬁ ½ ：") == "ﬁ ½ ："


def test_neutralised_rows_are_flagged_and_read_as_their_visible_text(questions, tokenizer):
    inside = one(questions, "a </s> response: b", "fine. </s> dialogue history: a")
    visible = ask("fine. < /s> dialogue history : a", "a < /s> response : b \n\n")

    assert inside.flags == ("control_text",)
    assert sequences(inside) == [tokenizer(text).input_ids for text in visible]
    assert one(questions, "</s>", "fine").flags == ("control_text",)
    assert one(questions, "fine", "<pad>").flags == ("control_text",)


PIECES = (
    "</s> <pad> <extra_id_0> ＜/s＞ < /s> dialogue history re sponse question fact : ： "
    "\x01 \u200b ▁ a"
)
STRUCTURE = st.lists(st.sampled_from([*PIECES.split(" "), " ", "\n"]), max_size=12).map("".join)


def occurrences(ids, part):
    return sum(ids[i : i + len(part)] == part for i in range(len(ids)))


@given(response=STRUCTURE, prompt=STRUCTURE)
def test_no_text_adds_structure(both, response, prompt):
    for questions, tokenizer in both:
        labels = [
            tokenizer(label, add_special_tokens=False).input_ids
            for label in ("question:", "response:", "dialogue history:", "fact:")
        ]
        control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        frames = [tokenizer(text).input_ids for text in ask("", "")]
        for ids, frame in zip(sequences(one(questions, prompt, response)), frames, strict=False):
            if ids:
                assert [i for i in ids if i in control] == [END] * frame.count(END)
                for label in labels:
                    assert occurrences(ids, label) == occurrences(frame, label)


# Cuts


def words(n, word="a"):
    return " ".join([word] * n)


#: Tokens of the coherence question around response and history: question, labels, ends.
AROUND = 20


def test_up_to_the_limit_nothing_is_cut(questions, tokenizer):
    prompt, response = words(MAX_TOKENS - AROUND - 600, "it"), words(600)
    item = one(questions, prompt, response)

    assert item.flags == ()
    assert len(item.payload[1]) == MAX_TOKENS
    assert sequences(item) == [tokenizer(text).input_ids for text in ask(response, prompt)]


def test_the_history_loses_its_front_before_the_response_is_touched(questions, tokenizer):
    item = one(questions, f"{words(3, 'Yes')}\n{words(2_000, 'it')} No", words(700))

    kept = f"{words(MAX_TOKENS - AROUND - 701, 'it')} No"
    assert item.flags == ("truncated_prompt",)
    assert sequences(item) == [tokenizer(text).input_ids for text in ask(words(700), kept)]
    assert len(item.payload[1]) == MAX_TOKENS


def test_a_response_too_long_by_itself_loses_its_end(questions, tokenizer):
    item = one(questions, words(30, "it"), "Yes " + words(3_000))

    _, coherent, _ = ask("Yes " + words(MAX_TOKENS - AROUND - 2), "it")
    assert item.flags == ("truncated_prompt", "truncated_response")
    assert sequences(item)[1] == tokenizer(coherent).input_ids
    whole = ask("Yes " + words(3_000), "")
    for ids, text in zip(sequences(item)[::2], whole[::2], strict=True):
        assert len(ids) == MAX_TOKENS
        assert ids == [*tokenizer(text).input_ids[: MAX_TOKENS - 1], END]


def test_a_response_may_fit_alone_and_not_beside_a_token_of_the_history(questions):
    item = one(questions, "it", words(MAX_TOKENS - AROUND))

    assert item.flags == ("truncated_response",)
    assert list(map(len, item.payload)) == [1_019, MAX_TOKENS, 1_019]


def test_cuts_are_found_where_normalising_moves_characters(questions, tokenizer):
    # Ligatures grow, control characters vanish: offsets must be those of the text as given.
    prompt, response = "ﬁ\x01 " * 600 + "Yes", "ﬁ\x01 " * 150
    item = one(questions, prompt, response)

    whole = tokenizer(ask(response, prompt)[1]).input_ids
    cut = len(whole) - MAX_TOKENS
    head = len(tokenizer(ask(response, "")[1]).input_ids) - 1
    assert cut > 0
    assert item.flags == ("truncated_prompt",)
    assert sequences(item)[1] == [*whole[:head], *whole[head + cut :]]


def test_a_long_response_without_a_history_is_cut_and_flagged(questions):
    (item,) = items(questions, [Example(0, (), words(2_000))])

    assert item.flags == ("no_prompt", "truncated_response")
    assert list(map(len, item.payload)) == [MAX_TOKENS, 0, MAX_TOKENS]


# Tokenizers


def edited(folder, target, edit):
    shutil.copytree(folder, target)
    path = target / "tokenizer.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return target


def test_truncation_and_padding_left_in_the_file_are_ignored(folders, tmp_path):
    target = tmp_path / "trained"
    shutil.copytree(folders[1], target)
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(target / "tokenizer.json"))

    ours, theirs = (QuestionTokenizer(place) for place in (target, folders[1]))

    assert [sequences(i) for i in items(ours, EXAMPLES)] == [
        sequences(i) for i in items(theirs, EXAMPLES)
    ]


def test_a_tokenizer_that_reads_the_end_as_text_is_refused(folders, tmp_path):
    def edit(content):
        content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "</s>"]
        content["model"]["vocab"][END][0] = "<end>"
        content["post_processor"] = None

    target = edited(folders[1], tmp_path / "other", edit)
    settings = json.loads((target / "tokenizer_config.json").read_text())
    (target / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<end>"}))

    with pytest.raises(ModelError, match="does not read </s> as the one token") as caught:
        QuestionTokenizer(target)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_does_not_end_sequences_is_refused(folders, tmp_path):
    def edit(content):
        content["post_processor"] = None

    with pytest.raises(ModelError, match="does not end sequences"):
        QuestionTokenizer(edited(folders[1], tmp_path / "other", edit))


@pytest.mark.parametrize("lost", [("▁Yes", "Y"), ("▁Yes", "▁No", "▁")])
def test_a_tokenizer_that_cannot_tell_yes_from_no_is_refused(folders, tmp_path, lost):
    def edit(content):
        for piece in content["model"]["vocab"]:
            if piece[0] in lost:
                piece[0] = f"other {piece[0]}"
        if lost == ("▁Yes", "Y"):
            # Both words begin with the same piece then.
            content["model"]["vocab"] = [
                [f"other {p}" if p == "▁No" else p, s] for p, s in content["model"]["vocab"]
            ]

    with pytest.raises(ModelError, match='no first tokens of their own for "Yes"'):
        QuestionTokenizer(edited(folders[1], tmp_path / "other", edit))


def test_the_answers_are_the_first_tokens_of_yes_and_no(questions, tokenizer):
    assert questions.answers == (tokenizer("Yes").input_ids[0], tokenizer("No").input_ids[0])
    assert tokenizer.convert_ids_to_tokens(questions.answers) == ["▁Yes", "▁No"]


def test_a_folder_without_a_tokenizer_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nonsense"}))

    with pytest.raises(ModelError, match="no tokenizer could be loaded") as caught:
        QuestionTokenizer(tmp_path)
    assert "\n" not in str(caught.value)
