"""Preference files: every layout and container, every reason to leave a record out, junk."""

from __future__ import annotations

import csv
import gzip
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.examples import Turn
from instructmining.formats import FLAGS
from instructmining.heads.preferences import LAYOUTS, Preference, read_preferences

OWN_REASONS = {"other_layout", "different_prompts", "equal_responses"}


def user(text):
    return Turn("user", text)


def assistant(text):
    return Turn("assistant", text)


def chat(*texts):
    """Messages in turn of the user and of the assistant."""
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def said(text):
    return {"role": "assistant", "content": text}


def from_(who, text):
    return {"from": who, "value": text}


def write(folder, records, name="pairs.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


#: Layout to what a record of its says, made of (prompt, better, worse).
RECORDS = {
    "openai": lambda prompt, better, worse: {
        "input": {"messages": chat(prompt), "tools": []},
        "preferred_output": [said(better)],
        "non_preferred_output": [said(worse)],
    },
    "llama-factory": lambda prompt, better, worse: {
        "conversations": [from_("human", prompt)],
        "chosen": from_("gpt", better),
        "rejected": from_("gpt", worse),
    },
    "alpaca": lambda prompt, better, worse: {
        "instruction": prompt,
        "input": "",
        "chosen": better,
        "rejected": worse,
    },
    "trl-conversational": lambda prompt, better, worse: {
        "prompt": chat(prompt),
        "chosen": [said(better)],
        "rejected": [said(worse)],
    },
    "trl-implicit-prompt": lambda prompt, better, worse: {
        "chosen": chat(prompt, better),
        "rejected": chat(prompt, worse),
    },
    "transcripts": lambda prompt, better, worse: {
        "chosen": f"\n\nHuman: {prompt}\n\nAssistant: {better}",
        "rejected": f"\n\nHuman: {prompt}\n\nAssistant: {worse}",
    },
    "trl-standard": lambda prompt, better, worse: {
        "prompt": prompt,
        "chosen": better,
        "rejected": worse,
    },
}


def test_every_layout_has_its_record_here():
    assert [layout.name for layout in LAYOUTS] == list(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_layout_is_told_from_its_content(tmp_path, name):
    record = RECORDS[name]
    found = read_preferences(
        write(tmp_path, [record("Hi", "Hello!", "No."), record("A", "B", "C")])
    )
    assert found.layout == name
    assert found.left_out == {}
    assert found.pairs == (
        Preference(0, (user("Hi"),), "Hello!", "No."),
        Preference(1, (user("A"),), "B", "C"),
    )


TALK = chat("Hi", "Hello", "Sum?")
TURNS = (user("Hi"), assistant("Hello"), user("Sum?"))
SYSTEM = Turn("system", "Be kind.")
DETAILS = {
    "llama-factory, system turn and chat keys": (
        {
            "messages": [{"role": "system", "content": "Be kind."}, *TALK],
            "chosen": said("Yes"),
            "rejected": said("No"),
        },
        "llama-factory",
        (SYSTEM, *TURNS),
    ),
    "llama-factory, tools": (
        {
            "conversations": [
                from_("human", "Hi"),
                from_("function_call", "f()"),
                from_("observation", "1"),
            ],
            "chosen": from_("gpt", "Yes"),
            "rejected": from_("gpt", "No"),
        },
        "llama-factory",
        (user("Hi"), assistant("f()"), Turn("tool", "1")),
    ),
    "alpaca, input, history and system": (
        {
            "instruction": "Sum?",
            "input": "1 2",
            "system": "Be kind.",
            "history": [["Hi", "Hello"]],
            "output": "a column that is not read",
            "chosen": "Yes",
            "rejected": "No",
        },
        "alpaca",
        (SYSTEM, user("Hi"), assistant("Hello"), user("Sum?\n1 2")),
    ),
    "standard, Intel's names": (
        {"system": "Be kind.", "question": "Hi", "chosen": "Yes", "rejected": "No"},
        "trl-standard",
        (SYSTEM, user("Hi")),
    ),
    "standard, field names in capitals, other responses": (
        {"Prompt": "Hi", "Chosen": "Yes", "Rejected": "No", "response": "", "answer": "x"},
        "trl-standard",
        (user("Hi"),),
    ),
    "conversational, rounds before": (
        {"prompt": TALK, "chosen": [said("Yes")], "rejected": [said("No")]},
        "trl-conversational",
        TURNS,
    ),
    "UltraFeedback": (
        {
            "prompt": "Hi",
            "prompt_id": "5f",
            "chosen": [*TALK, said("Yes")],
            "rejected": [*TALK, said("No")],
            "messages": [*TALK, said("Yes")],
            "score_chosen": 8.0,
        },
        "trl-implicit-prompt",
        TURNS,
    ),
    "lists of messages as text, as CSV has them": (
        {
            "prompt": json.dumps(TALK),
            "chosen": json.dumps([said("Yes")]),
            "rejected": json.dumps([said("No")]),
        },
        "trl-conversational",
        TURNS,
    ),
    "transcripts, rounds before": (
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Sum?\n\nAssistant: Yes",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Sum?\n\nAssistant: No\n",
        },
        "transcripts",
        TURNS,
    ),
    "transcripts, a prompt that is not read": (
        {"prompt": "Ho", **RECORDS["transcripts"]("Hi", "Yes", "No")},
        "transcripts",
        (user("Hi"),),
    ),
    "transcripts, stripped, the name of a speaker inside a line": (
        {
            "chosen": "Human: Who is\nHuman: ?\n\nAssistant: Yes",
            "rejected": "Human: Who is\nHuman: ?\n\nAssistant: No",
        },
        "transcripts",
        (user("Who is\nHuman: ?"),),
    ),
    "a role nobody knows is the user's, as in a pool": (
        {
            "prompt": [{"role": "narrator", "content": "Hi"}],
            "chosen": [said("Yes")],
            "rejected": [said("No")],
        },
        "trl-conversational",
        (user("Hi"),),
    ),
}


@pytest.mark.parametrize(("record", "layout", "turns"), DETAILS.values(), ids=DETAILS)
def test_details_of_layouts(tmp_path, record, layout, turns):
    found = read_preferences(write(tmp_path, [record]))
    assert (found.layout, found.pairs) == (layout, (Preference(0, turns, "Yes", "No"),))


def rows(name):
    record = RECORDS[name]
    return [record("Hi", "Yes é", "No"), record("Ho", "Same", "Same"), record("Hu", "A\nB", "C")]


def json_array(path, records):
    path.write_text(json.dumps(records, indent=1))


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def table(path, records):
    with path.open("w", newline="") as sink:
        writer = csv.DictWriter(sink, list(records[0]))
        writer.writeheader()
        writer.writerows(
            {k: v if isinstance(v, str) else json.dumps(v) for k, v in record.items()}
            for record in records
        )


CONTAINERS = {
    "p.json": json_array,
    "p.jsonl.gz": lambda path, records: path.write_bytes(gzip.compress(lines(records))),
    "p.jsonl.zst": lambda path, records: path.write_bytes(
        zstandard.ZstdCompressor().compress(lines(records))
    ),
    "p.parquet": lambda path, records: pq.write_table(pa.Table.from_pylist(records), path),
    "p.csv": table,
}
# A cell of a CSV file can hold a list as JSON, but nobody writes objects into one.
NOT_IN_CELLS = {"openai", "llama-factory"}
HELD = [(n, x) for n in CONTAINERS for x in RECORDS if n != "p.csv" or x not in NOT_IN_CELLS]


@pytest.mark.parametrize(("name", "layout"), HELD)
def test_every_layout_in_every_container(tmp_path, name, layout):
    CONTAINERS[name](tmp_path / name, rows(layout))
    found = read_preferences(str(tmp_path / name))
    assert found.layout == layout
    assert [(p.row, p.better, p.worse) for p in found.pairs] == [
        (0, "Yes é", "No"),
        (2, "A\nB", "C"),
    ]
    assert found.left_out == {"equal_responses": 1}


def changed(name, **fields):
    return {**RECORDS[name]("Hi", "Yes", "No"), **fields}


LEFT_OUT = [
    ("trl-standard", changed("trl-standard", chosen=None), "null_response"),
    ("trl-standard", changed("trl-standard", rejected=True), "non_text_response"),
    ("trl-standard", changed("trl-standard", rejected=3), "coerced_response"),
    ("trl-standard", changed("trl-standard", rejected=" \n"), "empty_response"),
    ("trl-standard", changed("trl-standard", rejected="Yes "), "equal_responses"),
    (
        "trl-standard",
        changed("trl-standard", chosen="\ud83d", rejected="\ud83e"),
        "equal_responses",
    ),
    ("trl-standard", changed("trl-standard", prompt="\t"), "empty_prompt"),
    ("trl-standard", changed("trl-standard", prompt=5), "other_layout"),
    ("trl-standard", changed("trl-standard", instruction="Hi", prompt=None), "other_layout"),
    ("trl-standard", changed("trl-standard", chosen=None, rejected=None), "other_layout"),
    ("trl-standard", RECORDS["transcripts"]("Hi", "Yes", "No"), "other_layout"),
    ("trl-standard", {}, "other_layout"),
    ("trl-standard", None, "malformed_record"),
    ("trl-standard", [["prompt", "Hi"]], "malformed_record"),
    ("alpaca", changed("alpaca", instruction={"a": [1]}), "coerced_prompt"),
    ("alpaca", changed("alpaca", history=[["Hi"]]), "malformed_turn"),
    ("alpaca", changed("alpaca", rejected=None, output="Read this?"), "null_response"),
    ("openai", changed("openai", preferred_output=[]), "non_text_response"),
    ("openai", changed("openai", preferred_output=None), "missing_response_field"),
    ("openai", changed("openai", preferred_output=chat("Hi")), "no_assistant_turn"),
    ("openai", changed("openai", preferred_output=[said(None)]), "null_response"),
    ("openai", changed("openai", input={"messages": "Hi"}), "malformed_turn"),
    ("openai", changed("openai", input=[1]), "other_layout"),
    (
        "openai",
        changed("openai", input={"messages": chat("Hi", "Hello")}, preferred_output=chat("Hm")),
        "trailing_turns",
    ),
    (
        "openai",
        changed("openai", preferred_output=[said("f()"), {"role": "tool"}, said("1")]),
        "different_prompts",
    ),
    ("llama-factory", changed("llama-factory", rejected="No"), "non_text_response"),
    ("llama-factory", changed("llama-factory", rejected=None), "missing_response_field"),
    ("llama-factory", changed("llama-factory", rejected=from_("human", "x")), "no_assistant_turn"),
    ("llama-factory", changed("llama-factory", conversations=[7]), "malformed_turn"),
    (
        "llama-factory",
        changed("llama-factory", conversations=[from_("system", "Be kind.")]),
        "empty_prompt",
    ),
    (
        "trl-conversational",
        changed("trl-conversational", prompt=[{"role": "user", "content": [{"image": "x"}]}]),
        "non_text_part",
    ),
    ("trl-conversational", changed("trl-conversational", rejected="No"), "non_text_response"),
    (
        "trl-implicit-prompt",
        changed("trl-implicit-prompt", rejected=[said("No")]),
        "different_prompts",
    ),
    (
        "trl-implicit-prompt",
        {"chosen": [said("Yes")], "rejected": [said("No")]},
        "empty_prompt",
    ),
    (
        "trl-implicit-prompt",
        {"chosen": chat("Hi", "Yes", "Bye"), "rejected": chat("Hi", "No", "Bye")},
        "trailing_turns",
    ),
    (
        "transcripts",
        changed("transcripts", rejected="\n\nHuman: Ho\n\nAssistant: No"),
        "different_prompts",
    ),
    (
        "transcripts",
        changed("transcripts", rejected="\n\nHuman: Hi\n\nAssistant:"),
        "empty_response",
    ),
    ("transcripts", changed("transcripts", rejected="\n\nHuman: Hi"), "no_assistant_turn"),
    ("transcripts", changed("transcripts", rejected="No\n\nAssistant: No"), "malformed_turn"),
    ("transcripts", changed("transcripts", rejected=None), "null_response"),
    ("transcripts", changed("transcripts", rejected=[]), "non_text_response"),
    (
        "transcripts",
        {
            side: f"\n\nHuman: Hi\n\nAssistant: {side}\n\nHuman: Bye"
            for side in ("chosen", "rejected")
        },
        "trailing_turns",
    ),
]


@pytest.mark.parametrize(("layout", "record", "reason"), LEFT_OUT)
def test_why_a_record_is_left_out(tmp_path, layout, record, reason):
    sound = [RECORDS[layout](f"Hi {i}", "Yes", "No") for i in range(2)]
    found = read_preferences(write(tmp_path, [sound[0], record, sound[1]]))
    assert found.layout == layout
    assert found.left_out == {reason: 1}
    assert [pair.row for pair in found.pairs] == [0, 2]
    assert reason in FLAGS or reason in OWN_REASONS


def test_broken_lines_and_foreign_bytes_are_counted_most_frequent_first(tmp_path):
    path = tmp_path / "pairs.jsonl"
    good = json.dumps(RECORDS["trl-standard"]("Hi", "Yes", "No")).encode()
    latin = json.dumps(RECORDS["trl-standard"]("Hé", "Yes", "No"), ensure_ascii=False)
    path.write_bytes(b"\n".join([latin.encode("latin-1"), b"{", good, b'{"prompt": ', b"7"]))
    found = read_preferences(path)
    assert [pair.row for pair in found.pairs] == [2]
    assert list(found.left_out.items()) == [("malformed_record", 3), ("undecodable_text", 1)]


def test_texts_can_be_encoded_whatever_the_escapes(tmp_path):
    record = RECORDS["trl-conversational"]("Hi \ud83d", "Yes \udc00", "No")
    (pair,) = read_preferences(write(tmp_path, [record])).pairs
    assert pair == Preference(0, (user("Hi ?"),), "Yes ?", "No")
    assert len(pair.group) == 32


def group(*turns):
    return Preference(0, turns, "a", "b").group


def test_equal_prompts_share_a_group():
    asked = group(user("What is  it?\n"))
    assert asked == Preference(7, (user(" What is\tit?"),), "c", "d").group
    assert asked == group(SYSTEM, user("What is it?"))
    assert asked != group(user("What is it"))
    assert asked != group(user("What is it?"), assistant("This."), user("What?"))
    # Known, so that the same file is split the same in years: blake2b of "What is it?".
    assert asked == "461e921a33d0720f2973cc09f7fd326e"


def test_the_layout_of_most_records_is_the_files(tmp_path):
    few = [RECORDS["alpaca"]("Hi", "Yes", "No")]
    many = [RECORDS["trl-standard"]("Hi", "Yes", "No")] * 2
    found = read_preferences(write(tmp_path, [*few, 3, *many]))
    assert (found.layout, len(found.pairs)) == ("trl-standard", 2)
    assert found.left_out == {"other_layout": 1, "malformed_record": 1}


def test_a_layout_is_looked_for_until_one_is_found(tmp_path):
    records = [{"a": 1}] * 300 + [RECORDS["alpaca"]("Hi", "Yes", "No")]
    found = read_preferences(write(tmp_path, records))
    assert (found.layout, found.left_out) == ("alpaca", {"other_layout": 300})


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"instruction": "Hi", "output": "x"}], "columns seen: instruction, output;"),
        ([{"chosen": "a", "rejected": "b", "x\ny": 1}], "columns seen: chosen, rejected, x y;"),
        ([3, None], "columns seen: none;"),
        (
            [RECORDS["alpaca"]("Hi", "No", "No")] * 2 + [RECORDS["alpaca"]("Hi", "No", None)],
            r"in the layout alpaca \(left out: equal_responses 2, null_response 1\)",
        ),
    ],
)
def test_a_file_without_a_pair_is_refused_in_one_line(tmp_path, records, message):
    path = write(tmp_path, records)
    with pytest.raises(InputError, match=message) as caught:
        read_preferences(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert all(layout.name in text and layout.wanted in text for layout in LAYOUTS)


def test_a_header_alone_and_no_file_are_refused(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,chosen,rejected\n")
    with pytest.raises(InputError, match="columns seen: none"):
        read_preferences(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_preferences(tmp_path / "absent.jsonl")


TEXT = st.sampled_from(
    ["", " ", "Hi", "\ud83d", "\0", "[", "[]", '[{"role": "user"}]', "\n\nHuman: a\n\nAssistant: b"]
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
NAMES = st.sampled_from(
    [*("role", "content", "from", "value", "text", "messages", "user", "assistant", "")]
)
JUNK = st.recursive(
    SCALAR | st.sampled_from(["user", "assistant", "gpt", "system"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw):
    """Draw a record of some layout, some of whose fields hold junk or are not there."""
    record = RECORDS[draw(st.sampled_from(list(RECORDS)))]("Hi", "Yes", "No")
    fields = st.sampled_from([*record, "prompt", "messages", "conversations", "input", "system"])
    record.update(draw(st.dictionaries(fields, JUNK, max_size=3)))
    for name in draw(st.sets(st.sampled_from(list(record)), max_size=2)):
        del record[name]
    return record


@settings(max_examples=150, database=None)
@given(st.sampled_from(list(RECORDS)), st.lists(damaged() | JUNK, max_size=5), st.data())
def test_no_record_crashes_or_vanishes(layout, junk, data):
    # One sound record more than there is junk: the file has this layout.
    sound = [RECORDS[layout](f"Hi {i}", "Yes", "No") for i in range(len(junk) + 1)]
    records = data.draw(st.permutations([*sound, *junk]))
    with TemporaryDirectory() as folder:
        found = read_preferences(write(Path(folder), records))
    assert found.layout == layout
    assert len(found.pairs) + sum(found.left_out.values()) == len(records)
    assert {i for i, r in enumerate(records) if r in sound} <= {pair.row for pair in found.pairs}
    assert set(found.left_out) <= set(FLAGS) | OWN_REASONS
    for pair in found.pairs:
        texts = [turn.content for turn in pair.turns] + [pair.better, pair.worse]
        assert all(text.encode() is not None for text in texts)
        assert pair.better.strip() and pair.worse.strip() and pair.better != pair.worse
        assert any(turn.role == "user" and turn.content.strip() for turn in pair.turns)


real = cache(read_preferences)


@pytest.mark.parametrize(
    ("name", "layout", "n_pairs", "left_out", "n_groups"),
    [
        ("dpo_en_demo.json", "llama-factory", 300, {}, 295),
        ("orca_dpo_pairs_284.jsonl", "openai", 284, {}, 284),
        (
            "harmless-base_test.jsonl.gz",
            "transcripts",
            2303,
            {"different_prompts": 5, "empty_response": 4},
            2301,
        ),
    ],
)
def test_real_files(shared_data, name, layout, n_pairs, left_out, n_groups):
    found = real(shared_data / "preferences" / name)
    assert (found.layout, len(found.pairs), dict(found.left_out)) == (layout, n_pairs, left_out)
    assert len({pair.group for pair in found.pairs}) == n_groups
    assert all(pair.turns[-1].role == "user" for pair in found.pairs)


def test_prompts_and_answers_of_a_real_transcript(shared_data):
    found = real(shared_data / "preferences" / "harmless-base_test.jsonl.gz")
    first = found.pairs[0]
    assert [turn.role for turn in first.turns] == ["user", "assistant"] * 2 + ["user"]
    assert first.turns[2] == user("yep")
    assert first.better.startswith("No, sorry!  All of these involve a pen")
