"""Any JSON objects go through JSON Lines and JSON arrays without losing one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from instructmining.formats import open_pool

FIRST = {"instruction": "Say hi.", "output": "hi"}
KEYS = st.one_of(
    st.sampled_from(["instruction", "input", "output", "messages", "conversations", "history"]),
    st.text(max_size=5),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=())),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=8)


@settings(max_examples=100)
@given(OBJECTS, st.booleans(), st.sampled_from([None, 0, 2]), st.integers(0, 1 << 16))
def test_no_row_is_lost(records, escape, indent, seed):
    records = [FIRST, *records]
    lines = [_dumps(record, escape) for record in records]
    order = random.Random(seed).sample(range(len(records)), len(records))
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "pool.jsonl"), Path(folder, "out.jsonl")
        path.write_bytes(b"\n".join(lines))
        _check(open_pool(path), records)
        open_pool(path).write(order, out)
        written = out.read_bytes().rstrip(b"\n").split(b"\n")
        assert written == [lines[row] for row in order]

        path, out = Path(folder, "pool.json"), Path(folder, "out.json")
        path.write_bytes(json.dumps(records, indent=indent).encode())
        _check(open_pool(path), records)
        open_pool(path).write(range(len(records)), out)
        assert out.read_bytes() == path.read_bytes()
        open_pool(path).write(order, out)
        assert json.loads(out.read_bytes()) == [records[row] for row in order]


def _dumps(record, escape):
    try:
        return json.dumps(record, ensure_ascii=escape).encode()
    except UnicodeEncodeError:
        return json.dumps(record).encode()


def _check(pool, records):
    examples = list(pool.examples())
    assert [example.row for example in examples] == list(range(len(records)))
    assert all(example.scorable or example.flags for example in examples)
    assert pool.take(range(len(records))) == records
    for example in examples:
        (example.prompt + example.response).encode("utf-8")
