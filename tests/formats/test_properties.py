"""Random records through every container and shape: no crash, no row lost, all given back.

A case is one generated file (or list in memory) of a few records. The first is always sound,
so that the file as a whole can be told; after it comes anything. `CASES` are drawn for every
container, the shapes taking turns.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.formats import open_pool

CASES = 1_000
MANY = settings(
    max_examples=CASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)

#: What breaks readers: control characters, NUL, marks, halves of pairs, quotes, line ends.
AWKWARD = [
    *("", " ", "\n", "\r\n", "\r", "\t", "\0", "a\0b", "\x1b[31m", "\x85", "\u2028", "\u2029"),
    *("\ufeff", "\ud83d", "\udc00a", "\U0010ffff", "e\u0301", "\u202edlrow", '"', '""', "'", "\\"),
    *("\\u0000", ",", ";", "[", "]", "{}", "[1]", "null", "NaN", "-0", "1e999", "<|im_end|>"),
]
TEXT = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=())))
CLEAN = st.one_of(
    st.sampled_from([text for text in AWKWARD if text.isprintable() or text < "\ud800"]),
    st.text(),
).map(lambda text: text.encode("utf-8", "replace").decode())


class Long(str):
    """A text as long as a file, which reports do not print."""

    def __repr__(self):
        return f"Long({self[:4]!r}, {len(self)})"


#: Up to a megabyte a field.
LONG = [Long("xé " * 23_000), Long('\0\\"' * 120_000), Long("\r\n" * 500_000)]
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
JUNK = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def alpaca(text):
    return {"instruction": text(), "input": text(), "output": text()}


def sharegpt(text):
    return {"conversations": [{"from": who, "value": text()} for who in ("human", "gpt")]}


def messages(text):
    return {"messages": [{"role": who, "content": text()} for who in ("user", "assistant")]}


def completion(text):
    return {"prompt": text(), "completion": text()}


def self_instruct(text):
    return {"instruction": text(), "instances": [{"input": text(), "output": text()}]}


def reference_answers(text):
    return {"choices": [{"turns": [text(), text()]}]}


SHAPES = (alpaca, sharegpt, messages, completion, self_instruct, reference_answers)
KEYS = sorted({key for shape in SHAPES for key in shape(str)} | {"history", "system", "Output "})


def sound(shape):
    return shape(lambda: "sound")


@st.composite
def spoiled(draw, shape, text):
    """A record of the shape, then perhaps a key less, a key more, or a value of another kind."""
    record = shape(lambda: draw(text))
    how = draw(st.integers(0, 9))
    if how == 0:
        del record[draw(st.sampled_from(sorted(record)))]
    elif how == 1:
        record[draw(st.sampled_from(KEYS) | text)] = draw(JUNK)
    elif how in (2, 3):
        record[draw(st.sampled_from(sorted(record)))] = draw(JUNK)
    elif how == 4:
        turns = next((value for value in record.values() if isinstance(value, list)), None)
        if turns is not None:
            turns.insert(draw(st.integers(0, len(turns))), draw(JUNK))
    return record


@st.composite
def pools(draw, text=TEXT, anything=JUNK):
    """A shape and a few records: sound, spoiled, and now and then none at all, or a huge one."""
    shape = draw(st.sampled_from(SHAPES))
    records = draw(st.lists(spoiled(shape, text), max_size=4))
    if draw(st.integers(0, 3)) == 0:
        records.append(draw(anything))
    seed = draw(st.integers(0, 1 << 32))
    if seed % 211 == 3:
        records.append(shape(lambda: LONG[seed % len(LONG)]))
    return shape.__name__, [sound(shape), *records], random.Random(seed)


def dumped(record, chance):
    """A record as some writer might put it on one line."""
    spacing = chance.choice([None, (",", ":"), (" ,  ", " : ")])
    try:
        return json.dumps(record, ensure_ascii=chance.random() < 0.5, separators=spacing).encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=spacing).encode()


def shuffled(n, chance):
    """Some rows in any order."""
    return chance.sample(range(n), chance.randint(0, n))


def read_whole(source, n):
    """Read a pool of `n` records to its end, in all ways there are."""
    pool = open_pool(source)
    examples = list(pool.examples())
    assert [example.row for example in examples] == list(range(n)), "no row is lost"
    assert examples[0].response == "sound"
    for example in examples:
        assert example.scorable or example.flags, "what is not scored says why"
        (example.prompt + example.response).encode("utf-8")
    return pool, examples


@pytest.fixture(scope="module")
def folder():
    # In memory where that is possible: every file written is flushed to its disk.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@MANY
@given(pools())
def test_json_lines_and_arrays_and_memory(folder, drawn):
    shape, records, chance = drawn
    raws = [dumped(record, chance) for record in records]
    rows = shuffled(len(records), chance)
    line_end = chance.choice([b"\n", b"\r\n"])
    whole = line_end.join(raws) + chance.choice([b"", line_end])
    wanted = line_end.join(raws[row] for row in rows)

    found = []
    for ending, pack in {
        ".jsonl": bytes,
        ".jsonl.gz": lambda data: gzip.compress(data, 1),
        ".jsonl.zst": zstandard.ZstdCompressor(level=1).compress,
    }.items():
        path = folder / f"pool{ending}"
        path.write_bytes(pack(whole))
        pool, examples = read_whole(path, len(records))
        assert pool.format == shape or len(records) > 1
        found.append([(e.turns, e.response, e.flags) for e in examples])
        pool.write(rows, folder / "out.jsonl")
        assert (folder / "out.jsonl").read_bytes().removesuffix(line_end) == wanted
    opening, between, closing = chance.choice([(b"[", b", ", b"]"), (b"[\n ", b",\n ", b"\n]\n")])
    path = folder / "pool.json"
    path.write_bytes(opening + between.join(raws) + closing)
    pool, examples = read_whole(path, len(records))
    found.append([(e.turns, e.response, e.flags) for e in examples])
    pool.write(rows, folder / "out.json")
    separator = between if len(raws) > 1 else b",\n"
    assert (folder / "out.json").read_bytes() == (
        opening + separator.join(raws[row] for row in rows) + closing
    )
    values = [json.loads(raw) for raw in raws]
    pool, examples = read_whole(values, len(values))
    found.append([(e.turns, e.response, e.flags) for e in examples])
    assert all(mine is values[row] for mine, row in zip(pool.take(rows), rows, strict=True))
    pool.write(rows, folder / "out.jsonl")
    again = [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert repr(again) == repr([values[row] for row in rows])
    assert all(one == found[0] for one in found), "the container does not change what is read"


@MANY
@given(pools(), st.lists(st.binary(max_size=40), max_size=4))
def test_lines_of_any_bytes(folder, drawn, noise):
    _, records, chance = drawn
    noise = [line.replace(b"\n", b"") for line in noise]
    lines = [dumped(record, chance) for record in records]
    lines += [line for line in noise if line.strip(b" \t\r\v\f")]
    path = folder / "noise.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        pool, _ = read_whole(path, len(lines))
    except InputError as error:
        bad = sum(not _decodes(line) for line in lines)
        assert 2 * bad > len(lines), error
        return
    rows = shuffled(len(lines), chance)
    pool.write(rows, folder / "out.jsonl")
    assert (folder / "out.jsonl").read_bytes().rstrip(b"\n") == b"\n".join(
        lines[row] for row in rows
    )


def _decodes(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@MANY
@given(pools(CLEAN))
def test_csv(folder, drawn):
    _, records, chance = drawn
    records = [record for record in records if isinstance(record, dict)]
    names = list(records[0])
    delimiter = chance.choice(",;\t")
    raws = [_csv_line([_cell(record.get(name)) for name in names], delimiter) for record in records]
    head = _csv_line(names, delimiter) if len(names) > 1 else f"{names[0]},id\n".encode()
    path = folder / "pool.csv"
    path.write_bytes(head + b"".join(raws))
    pool, _ = read_whole(path, len(records))
    rows = shuffled(len(records), chance)
    pool.write(rows, folder / "out.csv")
    assert (folder / "out.csv").read_bytes() == head + b"".join(raws[row] for row in rows)


def _cell(value):
    return value if isinstance(value, str) else json.dumps(value)


def _csv_line(cells, delimiter):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(cells)
    return sink.getvalue().encode("utf-8", "replace")


@MANY
@given(pools(CLEAN), st.sampled_from([1, 3, 1_000]))
def test_parquet_and_saved_folders(folder, drawn, group):
    _, records, chance = drawn
    table = _table([record for record in records if isinstance(record, dict)], chance)
    rows = shuffled(table.num_rows, chance)
    wanted = table.take(pa.array(rows, pa.int64()))
    path = folder / "pool.parquet"
    pq.write_table(table, path, row_group_size=group)
    saved = folder / "saved"
    saved.mkdir(exist_ok=True)
    (saved / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    with pa.ipc.new_stream(saved / "data.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=group)
    for source in (path, saved):
        pool, _ = read_whole(source, table.num_rows)
        pool.write(rows, folder / "out.parquet")
        written = pq.read_table(folder / "out.parquet")
        # As Parquet gives it back: there the items of lists have another name.
        assert written.schema.equals(pq.read_schema(path), check_metadata=True)
        assert written.to_pydict() == wanted.to_pydict()


def _table(records, chance):
    """Records as a table: columns of the first one's types, and some of no use to a reader."""
    columns = {}
    for name, value in records[0].items():
        kind = pa.array([value]).type
        if pa.types.is_string(kind):
            kind = chance.choice([pa.string(), pa.large_string()])
        cells = [_fitting(record.get(name), value) for record in records]
        columns[name] = pa.array(cells, kind)
    others = {
        "extra": pa.array([b"\xff\x00"] * len(records), pa.binary()),
        "when": pa.array([0] * len(records), pa.timestamp("ns")),
        "nothing": pa.nulls(len(records)),
        "score": pa.array([float("inf")] * len(records), pa.float32()),
    }
    chosen = chance.sample(sorted(others), chance.randint(0, 2))
    return pa.table({**columns, **{name: others[name] for name in chosen}}).replace_schema_metadata(
        {"note": "kept"}
    )


def _fitting(value, model):
    """Return `value` if an Arrow column that holds `model` can hold it, else null."""
    if isinstance(model, str):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None
    if isinstance(model, list):
        if not isinstance(value, list):
            return None
        return [_fitting(item, model[0]) for item in value]
    return (
        {key: _fitting(value.get(key), inner) for key, inner in model.items()}
        if isinstance(value, dict)
        else None
    )
