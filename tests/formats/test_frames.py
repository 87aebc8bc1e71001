"""Tables of other libraries: read like a file of the same records, and kept as they are."""

from __future__ import annotations

import json
from datetime import datetime

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from instructmining.errors import InputError
from instructmining.formats import open_pool

#: More rows than are read at once; the third has no input and no number.
N = 5000
RECORDS = [
    {
        "instruction": f"Say {n}.",
        "input": None if n == 2 else "",
        "output": f"«{n}»",
        "id": None if n == 2 else n,
    }
    for n in range(N)
]
ORDERS = ([2, 0, 4999], [0, 2, 4096], [7, 7], [])


def pandas_frame():
    frame = pd.DataFrame(RECORDS)
    frame.index = pd.Index([f"r{n}" for n in range(N)], name="key")
    return frame


def polars_frame():
    return pl.DataFrame(RECORDS).with_columns(pl.col("output").cast(pl.Categorical))


def arrow_table():
    schema = pa.schema(
        [("instruction", pa.large_string()), ("input", pa.string()), ("output", pa.string_view())]
    )
    return pa.Table.from_pylist(RECORDS, schema.append(pa.field("id", pa.int32())))


TABLES = {
    "polars": polars_frame,
    "pandas": pandas_frame,
    "pyarrow": arrow_table,
    "datasets": lambda: datasets.Dataset.from_list(RECORDS),
}
#: What the library itself gives for some rows.
TAKEN = {
    "polars": lambda frame, rows: frame[rows] if rows else frame.clear(),
    "pandas": lambda frame, rows: frame.iloc[rows],
    "pyarrow": lambda table, rows: pa.Table.from_pylist(
        [RECORDS[row] for row in rows], schema=table.schema
    ),
    "datasets": lambda data, rows: data.select(rows),
}


@pytest.fixture(params=TABLES)
def library(request):
    return request.param


def test_a_table_reads_as_a_file_of_its_records(library, tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    pool = open_pool(TABLES[library]())
    assert pool.name == "memory"
    found, wanted = list(pool.examples()), list(open_pool(path).examples())
    assert [example.digest for example in found] == [example.digest for example in wanted]
    assert [example.flags for example in found] == [example.flags for example in wanted]
    rows = [4999, 2, 0]
    assert [example.row for example in pool.read(rows)] == rows
    assert pool.take(rows) == [RECORDS[row] for row in rows]


@pytest.mark.parametrize("rows", ORDERS, ids=str)
def test_rows_come_back_as_the_library_itself_gives_them(library, rows):
    table = TABLES[library]()
    kept, wanted = (
        open_pool(table).like(np.array(rows, dtype=np.int64)),
        TAKEN[library](table, rows),
    )
    assert type(kept) is type(table)
    if library == "pandas":
        assert_frame_equal(kept, wanted)
    elif library == "datasets":
        assert kept.features == wanted.features
        assert kept.to_list() == wanted.to_list()
    else:
        assert kept.equals(wanted)
        assert kept.schema == wanted.schema


def test_rows_of_a_list_come_back_as_a_list():
    kept = open_pool(RECORDS).like([3, 1])
    assert isinstance(kept, list)
    assert kept[0] is RECORDS[3]


def test_a_format_that_is_set_stays():
    data = datasets.Dataset.from_list(RECORDS[:5]).with_format("numpy")
    kept = open_pool(data).like([4, 1])
    assert kept.format["type"] == "numpy"


@pytest.mark.parametrize("row", [-1, N])
def test_a_row_that_is_not_there_is_refused(library, row):
    with pytest.raises(InputError, match=rf"has no row {row}; rows run from 0 to {N - 1}"):
        open_pool(TABLES[library]()).like([row])


def test_tables_are_written_as_lines_and_as_parquet(library, tmp_path):
    table = TABLES[library]()
    pool = open_pool(table)
    pool.write([2, 0], tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [RECORDS[2], RECORDS[0]]
    pool.write([2, 0], tmp_path / "out.parquet")
    if library == "pandas":
        assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), table.iloc[[2, 0]])
    else:
        written = pq.read_table(tmp_path / "out.parquet").to_pylist()
        assert written == [RECORDS[2], RECORDS[0]]


def test_messages_in_a_table_of_pandas_may_be_lists_or_arrays():
    turns = [{"role": "user", "content": "Say one."}, {"role": "assistant", "content": "one"}]
    frame = pd.DataFrame(
        {"messages": [turns, np.array(turns)], "when": [datetime(2024, 1, 2), None]}
    )
    first, second = open_pool(frame).examples()
    assert (first.prompt, first.response) == ("Say one.", "one")
    assert first.digest == second.digest


def test_a_column_of_mixed_values_is_read_but_no_parquet(tmp_path):
    frame = pd.DataFrame({"instruction": ["a", "b"], "output": ["c", "d"], "note": [1, {"x": 2}]})
    pool = open_pool(frame)
    assert [record["note"] for record in pool.records()] == [1, {"x": 2}]
    with pytest.raises(InputError, match=r"give a name ending in \.jsonl"):
        pool.write([0, 1], tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (pl.LazyFrame({"output": ["a"]}), "a LazyFrame came; collect it first"),
        (
            datasets.Dataset.from_list(RECORDS[:2]).to_iterable_dataset(),
            "load it without streaming",
        ),
        (pl.DataFrame({"output": [object()]}), r"column output holds what .*\(Object\); drop it"),
        (pl.DataFrame({"id": [1]}, schema={"id": pl.Int128}), r"column id holds .*\(Int128\)"),
        (pd.DataFrame([["a", "b"]], columns=["output", "output"]), "column output is there twice"),
        (pa.table([["a"], ["b"]], names=["output", "output"]), "column output is there twice"),
        (pl.DataFrame({"output": []}, schema={"output": pl.String}), "holds no records"),
        (pd.DataFrame({"output": []}), "holds no records"),
        (iter(RECORDS), "a list_iterator came"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_pool_is_said_in_one_line(source, message):
    with pytest.raises(InputError, match=message) as error:
        open_pool(source)
    assert "\n" not in str(error.value)
