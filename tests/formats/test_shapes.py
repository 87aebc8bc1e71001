"""Every record shape: turns, response and flags, from records as they are found."""

from __future__ import annotations

import subprocess
import sys

import pytest

from instructmining.errors import InputError
from instructmining.examples import Turn
from instructmining.formats import FLAGS, open_pool, open_prompts
from instructmining.formats.shapes import SHAPES


def read(*records, **options):
    pool = open_pool(list(records), **options)
    return pool.format, list(pool.examples())


def user(text):
    return Turn("user", text)


def assistant(text):
    return Turn("assistant", text)


SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

CASES = {
    "alpaca": (
        {"instruction": "Add.\n", "input": "1 2", "output": "3"},
        "alpaca",
        (user("Add.\n1 2"),),
        "3",
    ),
    "alpaca with response": (
        {"instruction": "Add.", "input": "", "response": "3"},
        "alpaca",
        (user("Add."),),
        "3",
    ),
    "alpaca keeps the reference out": (
        {"prompt": "p", "instruction": "i", "input": "", "response": "r", "target": "t"},
        "alpaca",
        (user("i"),),
        "r",
    ),
    "alpaca with history and system": (
        {
            "system": "Be kind.",
            "instruction": "And 3?",
            "output": "4",
            "history": [["Is 2 even?", "Yes"]],
        },
        "alpaca",
        (Turn("system", "Be kind."), user("Is 2 even?"), assistant("Yes"), user("And 3?")),
        "4",
    ),
    "dolly": (
        {"instruction": "Who?", "context": "Ada wrote.", "response": "Ada", "category": "qa"},
        "alpaca",
        (user("Who?\nAda wrote."),),
        "Ada",
    ),
    "capital letters": (
        {"Instruction": "Add.", "Input": "1", "Output": "1"},
        "alpaca",
        (user("Add.\n1"),),
        "1",
    ),
    "sharegpt": ({"id": 1, "conversations": SHAREGPT}, "sharegpt", (user("Hi"),), "Hello"),
    "messages": ({"messages": CHAT}, "messages", (user("Hi"),), "Hello"),
    "role and content under conversations": (
        {"conversations": CHAT},
        "messages",
        (user("Hi"),),
        "Hello",
    ),
    "messages written into a CSV cell": (
        {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]'},
        "messages",
        (user("Hi"),),
        "Yo",
    ),
    "prompt and completion": ({"prompt": "p", "completion": "c"}, "completion", (user("p"),), "c"),
    "prompt and response": ({"prompt": "p", "response": "c"}, "completion", (user("p"),), "c"),
    "question and answer": ({"question": "q", "answer": "a"}, "completion", (user("q"),), "a"),
    "query and answer": ({"query": "q", "answer": "a"}, "completion", (user("q"),), "a"),
    "conversational completion": (
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        "completion",
        (user("Hi"),),
        "Hello",
    ),
    "self-instruct": (
        {
            "id": "seed_task_0",
            "instruction": "Add.",
            "instances": [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}],
        },
        "self_instruct",
        (user("Add.\n1 2"),),
        "3",
    ),
    "reference answers": (
        {"question_id": 101, "choices": [{"index": 0, "turns": ["First.", "Second."]}]},
        "reference_answers",
        (assistant("First."),),
        "Second.",
    ),
}


@pytest.mark.parametrize(("record", "shape", "turns", "response"), CASES.values(), ids=list(CASES))
def test_a_record_is_read(record, shape, turns, response):
    found, (example,) = read(record)
    assert found == shape
    assert example.turns == turns
    assert example.response == response
    assert example.flags == (("no_prompt",) if shape == "reference_answers" else ())


def test_roles_of_sharegpt():
    names = ["system", "human", "bot", "observation", "chatgpt"]
    turns = [{"from": name, "value": name} for name in names]
    _, (example,) = read({"conversations": turns})
    assert [turn.role for turn in example.turns] == ["system", "user", "assistant", "tool"]
    assert example.response == "chatgpt"


def test_what_follows_the_last_assistant_turn_is_left_out():
    _, (example,) = read({"messages": [*CHAT, {"role": "user", "content": "Bye"}]})
    assert (example.response, example.flags) == ("Hello", ("trailing_turns",))
    assert example.turns == (user("Hi"),)


def test_parts_that_are_not_text_are_left_out_and_flagged():
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "x"}}]
    turns = [{"role": "user", "content": [*parts, {"type": "text", "text": "this"}]}, CHAT[1]]
    _, (example,) = read({"messages": turns})
    assert example.prompt == "See\nthis"
    assert example.flags == ("non_text_part",)


@pytest.mark.parametrize(
    ("record", "flag", "scorable"),
    [
        ({"instruction": "i", "output": None}, "null_response", False),
        ({"instruction": "i", "output": float("nan")}, "null_response", False),
        ({"instruction": "i", "output": " \n"}, "empty_response", False),
        ({"instruction": "i", "output": True}, "non_text_response", False),
        ({"instruction": "i", "output": {"a": 1}}, "non_text_response", False),
        ({"instruction": "i", "output": ["a"]}, "non_text_response", False),
        ({"instruction": "i", "output": 42}, "coerced_response", True),
        ({"instruction": "i"}, "missing_response_field", False),
        ({"instruction": "", "input": None, "output": "r"}, "empty_prompt", True),
        ({"output": "r"}, "empty_prompt", True),
        ({"instruction": 7, "output": "r"}, "coerced_prompt", True),
        ({"instruction": "i", "output": "r", "history": "none"}, "malformed_turn", True),
        ({"instruction": "i", "output": "r\ud800"}, "undecodable_text", True),
        ({"messages": CHAT}, "mixed_format", True),
        ({"messages": CHAT[:1]}, "no_assistant_turn", False),
        ({"messages": [*CHAT, "and so on"]}, "malformed_turn", True),
        ({"messages": [{"role": "oracle", "content": "Hi"}, CHAT[1]]}, "unknown_role", True),
        ({"conversations": []}, "missing_response_field", False),
        ({}, "missing_response_field", False),
        (["i", "r"], "malformed_record", False),
        (None, "malformed_record", False),
    ],
)
def test_a_bad_record_is_flagged_and_stays_in_its_row(record, flag, scorable):
    good = {"instruction": "i", "output": "r"}
    _, examples = read(good, good, record, good)
    assert [example.row for example in examples] == [0, 1, 2, 3]
    assert flag in examples[2].flags
    assert set(examples[2].flags) <= set(FLAGS)
    assert examples[2].scorable is scorable
    assert examples[1].flags == examples[3].flags == ()
    examples[2].response.encode("utf-8")  # no lone surrogate reaches a tokenizer


def test_every_shape_survives_any_record():
    strange = [None, True, 3, "text", [], {}, [None], [{}], [[1]], [{"role": 3}], {"turns": None}]
    names = {name for case in CASES.values() for name in map(str.lower, case[0])}
    for shape in SHAPES:
        for value in strange:
            fields = dict.fromkeys(names, value)
            shape.fits(fields)
            reading = shape.read(fields)
            assert set(reading.flags) <= set(FLAGS)
            assert reading.response or reading.flags


def test_the_user_may_name_the_columns():
    record = {"q": "Add.", "context": "not this", "more": "1 2", "a": "3", "output": "not this"}
    columns = {"instruction": "q", "response": "a", "input": "more"}
    _, (example,) = read(record, columns=columns)
    assert (example.prompt, example.response) == ("Add.\n1 2", "3")
    _, (example,) = read({"turns": CHAT}, columns={"messages": "turns"})
    assert example.response == "Hello"
    _, (example,) = read({"answers": "3"}, columns={"output": "answers"})
    assert (example.response, example.flags) == ("3", ("empty_prompt",))


def test_the_user_may_force_the_shape():
    record = {"instruction": "i", "output": "o", "messages": CHAT}
    assert read(record)[0] == "messages"
    shape, (example,) = read(record, format="alpaca")
    assert (shape, example.response) == ("alpaca", "o")
    assert read({"prompt": "p", "output": "o"}, format="Completion")[0] == "completion"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "alpacca"}, "did you mean alpaca?"),
        ({"format": "sharegpt"}, "no record is in the format sharegpt"),
        ({"columns": {"respons": "a"}}, "did you mean response?"),
        ({"columns": {"response": "answr"}}, "has no column 'answr'; columns seen: instruction"),
    ],
)
def test_a_wrong_override_is_explained(options, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as caught:
        read({"instruction": "i", "output": "o"}, **options)
    assert "\n" not in str(caught.value)


def test_the_room_is_light_to_import():
    code = (
        "import sys, instructmining.formats\n"
        "heavy = {'pyarrow', 'datasets', 'torch', 'pandas', 'polars'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PROMPTS = {
    "instruction with input": (
        {"instruction": "Add.", "input": "1 2"},
        (user("Add.\n1 2"),),
    ),
    "names in any case": ({"Instruction": "Add.", "idx": 1}, (user("Add."),)),
    "prompt and system": (
        {"system": "Be kind.", "prompt": "Hi"},
        (Turn("system", "Be kind."), user("Hi")),
    ),
    "messages as the prompt": ({"prompt": CHAT[:1]}, (user("Hi"),)),
    "the first of several rounds": (
        {"question_id": 81, "turns": ["Describe Hawaii.", "Again, in verse."]},
        (user("Describe Hawaii."),),
    ),
    "a conversation that waits for an answer": ({"messages": CHAT[:1]}, (user("Hi"),)),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_prompts_are_read_without_a_response(case):
    record, turns = PROMPTS[case]
    (example,) = open_prompts([record]).examples()
    assert (example.turns, example.response) == (turns, "")
    assert set(example.flags) <= set(FLAGS)


def test_a_file_of_prompts_may_have_responses_too():
    pool = open_prompts([{"instruction": "Add.", "output": "3"}, {"instruction": "Count."}])
    assert pool.format == "alpaca"
    assert [(one.prompt, one.response) for one in pool.examples()] == [
        ("Add.", "3"),
        ("Count.", ""),
    ]


@pytest.mark.parametrize("record", [{"turns": []}, {"turns": [None]}, {"prompt": "", "id": 1}])
def test_what_asks_nothing_is_flagged(record):
    (example,) = open_prompts([record]).examples()
    assert "empty_prompt" in example.flags


def test_prompts_alone_are_no_pool():
    with pytest.raises(InputError, match="no column holds a response"):
        open_pool([{"prompt": "Hi"}])
    with pytest.raises(InputError, match="no column holds a prompt or a response"):
        open_prompts([{"title": "Hi"}])
