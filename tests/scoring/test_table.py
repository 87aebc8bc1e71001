"""The score table on disk."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instructmining.errors import InputError, StoreError
from instructmining.scoring.table import ScoreTable


@pytest.fixture
def table():
    frame = pl.DataFrame(
        {
            "row": pl.Series([0, 1, 2], dtype=pl.Int64),
            "example": ["a" * 32, "b" * 32, "a" * 32],
            "nll": pl.Series([0.1, None, 0.1], dtype=pl.Float64),
            "mtld": pl.Series([None, None, None], dtype=pl.Float64),
            "flags": pl.Series([[], ["no_response"], ["duplicate"]], dtype=pl.List(pl.String)),
        }
    )
    definitions = {"nll": {"indicator": "nll", "version": 1}, "mtld": {"indicator": "mtld"}}
    return ScoreTable(frame, definitions, {"causal": {"dtype": "float32"}})


def test_round_trip(table, tmp_path):
    path = tmp_path / "new" / "scores.parquet"
    table.save(path)
    loaded = ScoreTable.load(path)
    assert loaded.frame.equals(table.frame, null_equal=True)
    assert loaded.frame.schema == table.frame.schema
    assert loaded.definitions == table.definitions
    assert loaded.recorded == table.recorded
    assert loaded.columns == ("nll", "mtld")
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_other_readers_see_nulls_not_nan(table, tmp_path):
    table.save(tmp_path / "scores.parquet")
    read = pq.read_table(tmp_path / "scores.parquet")
    assert read["nll"].null_count == 1
    assert read["mtld"].null_count == 3
    assert read["flags"].to_pylist() == [[], ["no_response"], ["duplicate"]]


def note(text: bytes) -> dict[bytes, bytes]:
    return {b"instructmining": text}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {b"pandas": b"{}"},
        note(b"no json"),
        note(b"[]"),
        note(b'{"artefact": "decisions"}'),
    ],
)
def test_foreign_parquet_is_refused(tmp_path, metadata):
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"row": [0]}).replace_schema_metadata(metadata), path)
    with pytest.raises(StoreError, match="not a score table") as error:
        ScoreTable.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_table_without_its_columns_is_refused(tmp_path):
    path = tmp_path / "cut.parquet"
    meta = note(b'{"definitions": {"nll": {}}, "recorded": {}}')
    whole = pa.table({"row": [0], "example": ["a"], "flags": [["x"]]})
    pq.write_table(whole.replace_schema_metadata(meta), path)
    with pytest.raises(StoreError, match="without column nll"):
        ScoreTable.load(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"instruction": "a"}\n' * 40])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "scores.parquet"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read as a score table") as error:
        ScoreTable.load(path)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder_are_refused(table, tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        ScoreTable.load(tmp_path / "absent.parquet")
    table.save(tmp_path / "folder" / "scores.parquet")
    with pytest.raises(StoreError, match="directory"):
        ScoreTable.load(tmp_path / "folder")


def test_failed_save_leaves_the_old_table(table, tmp_path):
    path = tmp_path / "scores.parquet"
    table.save(path)
    before = path.read_bytes()
    broken = ScoreTable(table.frame, {"nll": {"model": object()}})
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "digests", [[], ["a" * 32, "b" * 32], ["b" * 32, "a" * 32, "a" * 32], ["a" * 32] * 4]
)
def test_speaks_for_its_own_pool_only(table, digests):
    table.check_pool(pl.Series(["a" * 32, "b" * 32, "a" * 32]))
    with pytest.raises(InputError, match="3 rows came that are not of this pool") as error:
        table.check_pool(pl.Series(digests, dtype=pl.String))
    assert f"of {len(digests)}" in str(error.value)
