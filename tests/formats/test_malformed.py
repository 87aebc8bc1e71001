"""Malformed inputs: a bad row is flagged and kept, a bad file is one clear line."""

from __future__ import annotations

import errno
import gzip
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from instructmining.errors import InputError
from instructmining.formats import open_pool

GOOD = {"instruction": "Say hi.", "input": "", "output": "hi"}
LINE = json.dumps(GOOD)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(source, **options):
    """Read the source to its end; return the one line it is refused with."""
    with pytest.raises(InputError) as caught:
        list(open_pool(source, **options).examples())
    message = str(caught.value)
    assert "\n" not in message
    return message


ROWS = {
    "a line that is not JSON": ("{not json}", "malformed_record"),
    "a line cut off": (LINE[:20], "malformed_record"),
    "a line that is a list": ("[1, 2]", "malformed_record"),
    "a line nested too deeply": ("[" * 100_000, "malformed_record"),
    "a null response": ('{"instruction": "a", "output": null}', "null_response"),
    "a boolean response": ('{"instruction": "a", "output": false}', "non_text_response"),
    "an absurd number": (
        f'{{"instruction": "a", "output": {"9" * 5000}}}',
        "coerced_response",
    ),
    "an empty response": ('{"instruction": "a", "output": ""}', "empty_response"),
    "a missing column": ('{"instruction": "a"}', "missing_response_field"),
    "another format": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "mixed_format",
    ),
    "no assistant turn": ('{"messages": [{"role": "user", "content": "a"}]}', "no_assistant_turn"),
    "bytes that are not UTF-8": (
        b'{"instruction": "a", "output": "caf\xe9"}',
        "undecodable_text",
    ),
}


@pytest.mark.parametrize(("line", "flag"), ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_bad_line_is_flagged_and_written_back(tmp_path, line, flag, place):
    raw = line if isinstance(line, bytes) else line.encode()
    lines = [LINE.encode()] * 3
    lines.insert(place, raw)
    pool = open_pool(write(tmp_path / "pool.jsonl", b"\n".join(lines)))
    examples = list(pool.examples())
    assert [example.row for example in examples] == [0, 1, 2, 3]
    assert flag in examples[place].flags
    assert [example.response for example in examples if example.row != place] == ["hi"] * 3
    pool.write([place], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes().rstrip(b"\n") == raw
    pool.write(range(4), tmp_path / "out.json")
    assert len(json.loads((tmp_path / "out.json").read_bytes())) == 4


def test_a_response_of_200_000_characters_is_read(tmp_path):
    long = "so " * 66_667
    records = [GOOD, {"instruction": "Go on.", "output": long}, GOOD]
    for name, text in (
        ("a.json", json.dumps(records)),
        ("a.jsonl", "\n".join(map(json.dumps, records))),
    ):
        examples = list(open_pool(write(tmp_path / name, text)).examples())
        assert [len(example.response) for example in examples] == [2, 200_001, 2]


def test_elements_of_an_array_that_are_no_records_are_flagged(tmp_path):
    text = json.dumps([GOOD, None, 3, "x", [GOOD], GOOD])
    examples = list(open_pool(write(tmp_path / "a.json", text)).examples())
    assert [example.flags[:1] for example in examples] == [
        (), *[("malformed_record",)] * 4, (),
    ]  # fmt: skip


def test_csv_rows_with_too_few_or_too_many_fields(tmp_path):
    text = 'instruction,output\na,b\nonly\na,b,c,d\n"a","b\nb"\nx\ry,z\na,b\n'
    examples = list(open_pool(write(tmp_path / "a.csv", text)).examples())
    assert [example.flags for example in examples] == [
        (),
        ("missing_response_field",),
        ("malformed_record",),
        (),
        ("malformed_record",),
        (),
    ]


def test_an_array_cut_off_names_line_and_column(tmp_path):
    text = json.dumps([GOOD] * 5, indent=2)
    message = refused(write(tmp_path / "cut.json", text[:-40]))
    assert f"{tmp_path / 'cut.json'}: line " in message
    assert "the JSON array breaks off here" in message
    message = refused(write(tmp_path / "cut.json", f"[{LINE},\n{LINE},\n"))
    assert "line 3 column 1: the JSON array breaks off here" in message


def test_a_syntax_error_in_an_array_names_line_and_column(tmp_path):
    filler = ",\n".join([LINE] * 40_000)  # more than one chunk lies before the error
    message = refused(write(tmp_path / "a.json", f'[{filler},\n{{"instruction" "a"}},\n{filler}]'))
    assert "line 40001 column 16: Expecting ':' delimiter" in message
    message = refused(write(tmp_path / "a.json", f"[{LINE}\n {LINE}]"))
    assert "line 2 column 2: ',' or ']' was wanted" in message
    message = refused(write(tmp_path / "a.json", f"[{LINE}]\n{LINE}"))
    assert "line 2 column 1: something follows the end of the array" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.json", b" \n\n", "is empty"),
        ("a.json", b"[]", "holds no records"),
        ("a.csv", b"instruction,output\n", "holds no records"),
        ("a.jsonl", LINE.encode("utf-16"), "line 1 column 1: is UTF-16, UTF-8 was wanted"),
        ("a.json", f"[{LINE}]".encode("utf-16-le"), "is UTF-16LE, UTF-8 was wanted"),
        (
            "a.jsonl",
            '{"instruction": "é", "output": "ü"}\n'.encode("latin-1") * 5,
            "is not UTF-8 (5 of the first 5 records",
        ),
        ("a.jsonl", b"one\ntwo\n", "no record is an object with named fields (record 1: column 1"),
        ("a.json", b'{\n "a": {\n "b": 1}}', "one JSON object over several lines"),
        ("a.json", b"instruction", "JSON was wanted"),
        ("a.bin", b"\x01\x02\x03\x04", "neither name nor content tells what it is"),
        ("a.csv", b"Give three tips,Eat well\nName one,A\n", "columns seen: Give three tips, Eat"),
        ("a.csv", b'instruction,output\na,b\nc,"d\ne,f\n', "line 3: a quoted field opens here"),
        ("a.csv", b"instruction,output\ra,b\rc,d\r", "line 1: new-line character"),
        ("a.jsonl", b'{"Instruction": "a", "Skill": "b"}', "columns seen: Instruction, Skill;"),
        ("a.parquet", b"PAR1 and then nothing", "cannot be read as Parquet"),
        ("a.parquet", b"not parquet", "cannot be read as Parquet"),
        ("a.jsonl.gz", gzip.compress(LINE.encode() * 99)[:-9], "cut off or damaged"),
        ("a.jsonl.zst", zstandard.compress(LINE.encode() * 99)[:-9], "cut off or damaged"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "cut off or damaged"),
    ],
)
def test_an_unusable_file_is_one_clear_line(tmp_path, name, content, said):
    path = write(tmp_path / name, content)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert said in message


def test_a_file_without_responses_tells_how_to_name_one(tmp_path):
    path = write(
        tmp_path / "question.jsonl", '{"question_id": 81, "turns": ["Compose"], "ref": "A"}'
    )
    message = refused(path)
    assert "no column holds a response" in message
    assert "columns seen: question_id, turns, ref" in message
    assert "--columns response=NAME" in message
    (example,) = open_pool(path, columns={"response": "ref"}).examples()
    assert example.response == "A"


def test_a_parquet_file_without_rows_or_damaged_in_its_middle(tmp_path):
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"instruction": pa.array([], pa.string())}), empty)
    assert "holds no records" in refused(empty)
    path = tmp_path / "damaged.parquet"
    rows = {"instruction": [f"{n} {n * n}" for n in range(9000)], "output": ["o"] * 9000}
    pq.write_table(pa.table(rows), path, row_group_size=3000)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 2000] = b"\xff" * 2000
    write(path, bytes(content))
    assert "cannot be read as Parquet" in refused(path)


def test_parquet_text_that_is_not_utf8_is_flagged(tmp_path):
    raw = [b"fine", b"caf\xe9", b"fine"]
    text = pa.StringArray.from_buffers(3, *pa.array(raw, pa.binary()).buffers()[1:])
    turns = pa.ListArray.from_arrays([0, 1, 2, 3], pa.StructArray.from_arrays([text], ["text"]))
    table = pa.table({"instruction": ["a"] * 3, "output": text, "note": turns, "blob": raw})
    path = tmp_path / "pool.parquet"
    pq.write_table(table, path)
    pool = open_pool(path)
    examples = list(pool.examples())
    assert [example.response for example in examples] == ["fine", "caf\ufffd", "fine"]
    assert [example.flags for example in examples] == [(), ("undecodable_text",), ()]
    assert pool.take([1])[0]["note"] == [{"text": "caf\ufffd"}]
    assert pool.take([1])[0]["blob"] == raw[1]
    pool.write([1], tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")["output"].cast(pa.binary())
    assert written.to_pylist() == [raw[1]]


def test_a_prompt_in_memory_that_no_json_holds():
    circle = []
    circle.append(circle)
    records = [GOOD, {**GOOD, "instruction": {(1, 2): 3}}, {**GOOD, "instruction": {"a": circle}}]
    examples = list(open_pool(records).examples())
    assert [example.flags for example in examples[1:]] == [("coerced_prompt",)] * 2


def test_a_missing_file_and_a_folder(tmp_path):
    assert "No such file" in refused(tmp_path / "none.jsonl")
    assert "none that datasets.save_to_disk wrote" in refused(tmp_path)
    write(tmp_path / "state.json", "{")
    assert "state.json cannot be read" in refused(tmp_path)


def test_a_file_without_permission(tmp_path):
    path = write(tmp_path / "secret.jsonl", LINE)
    path.chmod(0)
    # Root may read everything: the test then looks with the eyes of another user.
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        message = refused(path)
    finally:
        if root:
            os.seteuid(0)
    assert "Permission denied" in message


class _FullDisk:
    """A file whose disk fills up at the first byte."""

    def __init__(self, handle):
        self._handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._handle.close()

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.csv", "out.jsonl.gz"])
def test_a_full_disk_leaves_the_old_output_alone(tmp_path, monkeypatch, name):
    pool = open_pool(write(tmp_path / "pool.jsonl", f"{LINE}\n" * 3))
    out = write(tmp_path / name, "old")
    usual = type(out).open

    def open_on_full_disk(path, mode="r", *rest, **options):
        handle = usual(path, mode, *rest, **options)
        return _FullDisk(handle) if "w" in mode else handle

    monkeypatch.setattr(type(out), "open", open_on_full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        pool.write([2, 0], out)
    monkeypatch.undo()
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["pool.jsonl", name])


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.csv", "out.parquet"])
def test_a_disk_that_fills_up_later_leaves_the_old_output_alone(tmp_path, name):
    resource = pytest.importorskip("resource")
    pool = open_pool([{**GOOD, "noise": os.urandom(50_000).hex()} for _ in range(10)])
    out = write(tmp_path / name, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            pool.write(range(10), out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_table_cannot_hold_a_malformed_record(tmp_path, name):
    pool = open_pool(write(tmp_path / "pool.jsonl", f"{LINE}\nnot JSON\n"))
    with pytest.raises(InputError, match="which no table can hold"):
        pool.write([0, 1], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_records_that_no_parquet_schema_fits(tmp_path):
    pool = open_pool([GOOD, {**GOOD, "input": 3}, {**GOOD, "input": [3]}])
    with pytest.raises(InputError, match="do not fit one Parquet schema"):
        pool.write([0, 1, 2], tmp_path / "out.parquet")


def test_a_pool_that_changes_under_our_hands_is_refused(tmp_path):
    path = write(tmp_path / "pool.jsonl", f"{LINE}\n" * 3)
    pool = open_pool(path)
    write(path, f"{LINE}\n" * 2)
    with pytest.raises(InputError, match="was changed while it was being used"):
        pool.write([0], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".jsonl.gz", ".csv", ".parquet"])
@pytest.mark.parametrize("rows", [[3], [-1], [0, 7, 1]])
def test_rows_the_pool_does_not_have(tmp_path, suffix, rows):
    open_pool([GOOD] * 3).write(range(3), tmp_path / f"pool{suffix}")
    with pytest.raises(InputError, match="has no row"):
        open_pool(tmp_path / f"pool{suffix}").write(rows, tmp_path / f"out{suffix}")
    assert not (tmp_path / f"out{suffix}").exists()


def test_options_and_sources_that_make_no_sense(tmp_path, monkeypatch):
    path = write(tmp_path / "pool.jsonl", LINE)
    assert "belongs to hf://" in refused(path, config="en")
    assert "a file has no splits" in refused(path, split="train")
    assert "a split" in refused([GOOD], split="train")
    assert "a int came" in refused(3)
    assert "not an address of a data set" in refused("hf://models/owner/name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'instructmining[hub]'" in refused("hf://datasets/owner/name")


def test_the_hub_out_of_reach_is_one_clear_line(monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub\n(offline)")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert "cannot be loaded (Couldn't reach" in refused("hf://datasets/owner/name")
