"""Parquet artefacts come back as they were written, or not at all."""

from __future__ import annotations

import random

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instructmining.tables import ForeignTable, read_table, write_table

NOTE = {"definitions": {"nll": {"model": "m"}}, "größe": 1.5}


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row": pl.Series(range(6), dtype=pl.Int64),
            "nll": [0.1, None, float("nan"), -0.0, 0.0, 1e300],
            "kept": [True, False, None, True, True, False],
            "reason": ["selected", None, "", "ünlikely \x00", "a" * 5_000, "b"],
            "flags": [["a", "b"], [], None, ["ab"], [""], ["c"]],
        }
    )


@pytest.fixture
def path(tmp_path):
    write_table(frame(), tmp_path / "table.parquet", NOTE)
    return tmp_path / "table.parquet"


def test_what_is_written_is_read(path):
    read, note = read_table(path)
    assert note == NOTE
    assert read.equals(frame())
    assert str(read["nll"][3]) == "-0.0"


def test_flipped_bits_are_noticed_or_harmless(path):
    whole = path.read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read, note = read_table(path)
        except (OSError, ValueError, pa.ArrowException):
            refused += 1
        else:
            assert read.equals(frame())
            assert note == NOTE
    assert refused > 200


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("nll", 1, 0.0),
        ("nll", 2, None),
        ("nll", 4, -0.0),
        ("kept", 2, False),
        ("reason", 1, ""),
        ("reason", 5, "c"),
        ("flags", 0, ["ab"]),
        ("flags", 2, []),
        ("flags", 4, []),
    ],
)
def test_a_table_written_anew_under_the_old_hash_is_refused(path, column, row, value):
    metadata = pq.read_schema(path).metadata
    values = frame()[column].to_list()
    values[row] = value
    other = frame().with_columns(pl.Series(column, values, dtype=frame()[column].dtype))
    pq.write_table(other.to_arrow().replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match="not hold what was written"):
        read_table(path)


def test_an_altered_note_is_refused(path):
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    metadata[b"instructmining"] = metadata[b"instructmining"].replace(b"1.5", b"1.6")
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match="not hold what was written"):
        read_table(path)


def test_a_table_without_a_hash_is_taken_as_it_is(path):
    table = pq.read_table(path)
    metadata = {b"instructmining": table.schema.metadata[b"instructmining"]}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_table(path)[0].equals(frame())


@pytest.mark.parametrize("metadata", [None, {"instructmining": "[]"}])
def test_other_parquet_is_foreign(path, metadata):
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    with pytest.raises(ForeignTable):
        read_table(path)


def test_the_hash_does_not_depend_on_how_arrow_keeps_the_rows(path, tmp_path):
    parts = pl.concat([frame()[:2], frame()[2:]], rechunk=False)
    write_table(parts, tmp_path / "parts.parquet", NOTE)
    hashes = [pq.read_schema(p).metadata[b"instructmining.sha256"] for p in tmp_path.iterdir()]
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


def test_a_table_of_no_rows_comes_back(tmp_path):
    write_table(frame()[:0], tmp_path / "none.parquet", {})
    assert read_table(tmp_path / "none.parquet")[0].equals(frame()[:0])
