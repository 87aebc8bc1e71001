"""Malformed inputs from the command line: a bad row is flagged, a bad file is one line.

What the readers do with each byte is tested in ``tests/formats``; here the whole way is.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import resource
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = [
    {"instruction": "Name a wind.", "output": "north"},
    {"instruction": "Name the winds.", "output": "north, east, south, west"},
    {"instruction": "Count.", "output": "one two three"},
]
LINES = [json.dumps(row).encode() + b"\n" for row in GOOD]
OLD = b"what stood here before\n"


@pytest.fixture(params=["select", "score"])
def command(request, run, tmp_path, byte_tokenizer):
    """Run either command on a pool, over outputs that exist; return how it ended and its table."""
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "out"
    table = out if request.param == "score" else folder / "out.decisions.parquet"
    how = {
        "select": ["--rule", "longest", "--keep", "1.0"],
        "score": ["--indicators", "len_out,mtld"],
    }[request.param]
    out.write_bytes(OLD)
    table.write_bytes(OLD)

    def call(pool, user=None):
        caller = os.geteuid()
        os.seteuid(caller if user is None else user)
        try:
            ended = run(request.param, pool, "-o", out, *how, "--lm", byte_tokenizer)
        finally:
            os.seteuid(caller)
        assert "Traceback" not in ended.err
        if ended.code == 0:
            return ended, pl.read_parquet(table)
        assert ended.error
        assert out.read_bytes() == table.read_bytes() == OLD
        assert {path.name for path in folder.iterdir()} == {out.name, table.name}
        return ended, None

    call.name = request.param
    call.out = out
    return call


def nested(depth):
    return b"[" * depth + b"]" * depth


def record(instruction=b'"a"', output=b'"b"'):
    return b'{"instruction": ' + instruction + b', "output": ' + output + b"}"


#: A line, the flag it gets, and whether it is scored all the same.
ROWS = {
    "no JSON": (b"{not json}", "malformed_record", False),
    "a line cut off": (LINES[1][:30], "malformed_record", False),
    "a list": (b"[1, 2]", "malformed_record", False),
    "a null record": (b"null", "malformed_record", False),
    "a null response": (record(output=b"null"), "null_response", False),
    "an empty response": (record(output=b'" \\n"'), "empty_response", False),
    "a response that is a list": (record(output=nested(3)), "non_text_response", False),
    "a missing column": (b'{"instruction": "a"}', "missing_response_field", False),
    "no assistant turn": (
        b'{"messages": [{"role": "user", "content": "a"}]}',
        "no_assistant_turn",
        False,
    ),
    "no turn at all": (b'{"messages": []}', "missing_response_field", False),
    "another format": (
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "mixed_format",
        True,
    ),
    "nested without end": (b"[" * 100_000, "malformed_record", False),
    "nested too deeply": (record(nested(100_000)), "malformed_record", False),
    "bytes that are no UTF-8": (record(output=b'"caf\xe9"'), "undecodable_text", True),
    "half of a surrogate pair": (record(output=b'"\\ud83d"'), "undecodable_text", True),
    "a huge integer": (record(output=b"9" * 5_000), "coerced_response", True),
    "an infinite number": (record(output=b"1e999"), "coerced_response", True),
    "no number": (record(output=b"NaN"), "null_response", False),
    "raw NUL bytes": (record(output=b'"\x00\x00 a"'), None, True),
    "NUL bytes as escapes": (record(output=b'"\\u0000 a"'), None, True),
    "no word": (record(output=b'"?!"'), None, True),
    "duplicate keys": (b'{"output": "x", "output": "y", "instruction": "a"}', None, True),
    "200,000 characters": (record(output=b'"' + b"long " * 40_000 + b'"'), None, True),
    "one word of 200,000 characters": (record(output=b'"' + b"x" * 200_000 + b'"'), None, True),
}


@pytest.mark.parametrize(("line", "flag", "scored"), ROWS.values(), ids=list(ROWS))
def test_a_bad_row_is_flagged_counted_and_never_fatal(command, tmp_path, line, flag, scored):
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(b"".join([LINES[0], line + b"\n", *LINES[1:]]))
    ended, table = command(pool)
    assert ended.code == 0, ended.err
    assert table["row"].to_list() == [0, 1, 2, 3]
    flags = table["flags"].to_list()
    assert [flags[row] for row in (0, 2, 3)] == [[]] * 3
    assert flag is None or flag in flags[1]
    if command.name == "score":
        assert (table["len_out"][1] is not None) == scored
        for column in ("len_out", "mtld"):
            assert table[column][1] is not None or flags[1]
            assert table[column].null_count() <= 1
        return
    kept = [True, scored, True, True]
    assert table["kept"].to_list() == kept
    assert scored or table["reason"][1] == "unscored:len_out"
    rows = pool.read_bytes().splitlines(keepends=True)
    assert command.out.read_bytes() == b"".join(r for r, k in zip(rows, kept, strict=True) if k)
    if flags[1]:
        assert f"{flags[1][0]} 1" in " ".join(ended.out.split())


@pytest.mark.parametrize("depth", [700, 900, 950, 970, 980, 985, 990, 995, 1000])
def test_nesting_near_the_interpreters_limit(command, tmp_path, depth):
    pool = tmp_path / "pool.jsonl"
    deep = [
        record(nested(depth)),
        record(output=nested(depth)),
        b'{"messages": %b}' % nested(depth),
    ]
    pool.write_bytes(b"\n".join([*deep, record(b'"d"'), *LINES]))
    ended, table = command(pool)
    assert ended.code == 0, ended.err
    assert table.height == 7
    assert all(table["flags"].to_list()[:3])


def parquet(**columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


WHOLE_PARQUET = parquet(instruction=[str(n) for n in range(999)], output=["o"] * 999)
FILES = {
    "an array cut off": ("a.json", json.dumps(GOOD).encode()[:-30], "never ends"),
    "UTF-16": ("a.jsonl", b"".join(LINES).decode().encode("utf-16"), "is UTF-16"),
    "UTF-32": ("a.json", json.dumps(GOOD).encode("utf-32"), "is UTF-32"),
    "Latin-1": ("a.jsonl", record(output="é".encode("latin-1").join([b'"', b'"'])), "not UTF-8"),
    "an empty file": ("a.jsonl", b"", "is empty"),
    "nothing but space": ("a.csv", b"\n \n", "is empty"),
    "an empty array": ("a.json", b"[]", "holds no records"),
    "missing columns": (
        "a.jsonl",
        b'{"title": "a", "body": "b"}\n' * 3,
        "columns seen: title, body",
    ),
    "no line of JSON": ("a.jsonl", b"one\ntwo\n", "no record is an object"),
    "plain text": ("a.txt", b"once upon a time", "neither name nor content"),
    "NUL bytes": ("a.jsonl", b"\x00" * 4096, "UTF-8 was wanted"),
    "NUL bytes as CSV": ("a.csv", b"\x00" * 4096, "UTF-8 was wanted"),
    "random bytes as Parquet": ("a.parquet", bytes(range(256)) * 8, "cannot be read as Parquet"),
    "half a Parquet file": (
        "a.parquet",
        WHOLE_PARQUET[: len(WHOLE_PARQUET) // 2],
        "cannot be read as Parquet",
    ),
    "a Parquet file of other columns": ("a.parquet", parquet(a=[1], b=[2]), "columns seen: a, b"),
    "a truncated gzip file": ("a.jsonl.gz", gzip.compress(b"".join(LINES) * 9)[:-12], "cut off"),
    "a gzip file of nothing": ("a.jsonl.gz", gzip.compress(b""), "is empty"),
    "CSV without a header": ("a.csv", b"Name a wind,north\nCount,one two\n", "columns seen: Name"),
    "CSV with an open quote": ("a.csv", b'instruction,output\na,"b\nc,d\ne,f\n', "never closes"),
    "one object over lines": (
        "a.json",
        b'{\n"instruction": "a",\n"output": "b"}',
        "one JSON object",
    ),
    "an array nested too deeply": ("a.json", nested(100_000), "a.json"),
}


@pytest.mark.parametrize(("name", "content", "said"), FILES.values(), ids=list(FILES))
def test_an_unusable_file_is_one_line_and_code_2(command, tmp_path, name, content, said):
    pool = tmp_path / name
    pool.write_bytes(content)
    ended, table = command(pool)
    assert table is None
    assert ended.err.startswith(f"instructmining: error: {pool}: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("name", [".", "absent.jsonl", "file/pool.jsonl", "a\nb.jsonl", "x" * 300])
def test_a_path_that_leads_to_no_file(command, tmp_path, name):
    (tmp_path / "file").write_text("")
    ended, table = command(tmp_path / name)
    assert table is None
    assert ended.err.count("\n") == 1


def test_a_file_without_permission(command, tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(b"".join(LINES))
    pool.chmod(0)
    # Root may read everything: the command then looks with the eyes of another user.
    ended, _ = command(pool, user=65534 if os.geteuid() == 0 else os.geteuid())
    assert "Permission denied" in ended.error
    assert ended.err.count("\n") == 1


def test_a_disk_that_fills_up(command, tmp_path):
    pool = tmp_path / "pool.jsonl"
    row = {"instruction": "Go on.", "output": os.urandom(20_000).hex()}
    pool.write_bytes(b"".join([json.dumps(row).encode() + b"\n", *LINES]))
    # A table is small: where one is written, the store is what the disk refuses.
    limit = 500 if command.name == "score" else 20_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        ended, _ = command(pool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written (" in ended.error
    assert "File too large" in ended.error
    again, table = command(pool)
    assert again.code == 0, again.err
    assert table.height == 4


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_no_space_left_for_whichever_file(command, tmp_path, monkeypatch, nth):
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(b"".join(LINES))
    write_table, write_bytes, calls = pq.write_table, Path.write_bytes, iter(range(1, 99))

    def half(path):
        if next(calls) == nth:
            write_bytes(path, b"PAR1 and some")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_half_a_table(table, where, **options):
        if isinstance(where, Path):
            half(where)
        write_table(table, where, **options)

    def write_half_a_shard(path, content):
        if path.suffix == ".tmp":
            half(path)
        return write_bytes(path, content)

    monkeypatch.setattr(pq, "write_table", write_half_a_table)
    monkeypatch.setattr(Path, "write_bytes", write_half_a_shard)
    ended, _ = command(pool)
    assert "cannot be written (No space left on device)" in ended.error
    again, table = command(pool)
    assert again.code == 0, again.err
    assert table.height == 3
