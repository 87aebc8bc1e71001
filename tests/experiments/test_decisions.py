from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.contest.decisions import read_decisions

DIGESTS = [f"{row:032x}" for row in range(6)]
KEPT = [True, False, True, None, True, False]


def write(folder: Path, **columns: Any) -> str:
    path = folder / "decisions.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        # Without ranks: those kept, in the order of the pool.
        ({"row": [4, 3, 2, 1, 0], "kept": [True, False, True, False, True]}, [0, 2, 4]),
        ({"row": range(6), "kept": KEPT}, [0, 2, 4]),
        ({"row": range(6), "kept": [1, 0, 1, 0, 0, 0]}, [0, 2]),
        # With ranks: those kept by rank, then those that were next; never one without.
        (
            {"row": range(6), "kept": KEPT, "rank": [3, 4, 1, None, 2, None]},
            [2, 4, 0, 1],
        ),
        ({"row": range(6), "kept": KEPT, "rank": [3, 9, None, 4, 1, 7]}, [4, 0, 2, 3, 5, 1]),
        ({"row": range(6), "kept": KEPT, "example": DIGESTS}, [0, 2, 4]),
    ],
)
def test_rows_come_in_the_order_of_the_table(tmp_path, columns, expected):
    assert read_decisions(write(tmp_path, **columns), DIGESTS) == expected


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"row": [0]}, "decisions without column kept"),
        ({"rows": [0]}, "decisions without column row and kept"),
        ({"row": ["first"], "kept": [True]}, "rows or ranks are no numbers"),
        ({"row": [0], "kept": ["perhaps"]}, "rows or ranks are no numbers"),
        ({"row": [0], "kept": [True], "rank": ["best"]}, "rows or ranks are no numbers"),
        ({"row": [0, 0], "kept": [True, True]}, "a row without number, or twice"),
        ({"row": [None, 0], "kept": [True, True]}, "a row without number, or twice"),
        ({"row": [0, 6], "kept": [True, True]}, r"of another pool, 1 of 2 .*\(first: row 6\)"),
        ({"row": [-1], "kept": [True]}, "of another pool"),
        ({"row": [0], "kept": [True], "example": [DIGESTS[1]]}, "of another pool, 1 of 1"),
        ({"row": [0, 1], "kept": [False, False]}, "keep no row"),
    ],
)
def test_tables_that_do_not_speak_of_the_pool_are_refused(tmp_path, columns, said):
    with pytest.raises(ExperimentError, match=said) as caught:
        read_decisions(write(tmp_path, **columns), DIGESTS)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "decisions.parquet").write_text("row,kept\n0,true\n")
    for name in ("decisions.parquet", "none.parquet"):
        with pytest.raises(ExperimentError, match=rf"{name}: decisions cannot be read") as caught:
            read_decisions(str(tmp_path / name), DIGESTS)
        assert "\n" not in str(caught.value)
