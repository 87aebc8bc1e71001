"""Tables of decisions, from any tool, as a way of choosing data in a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from instructmining.errors import ExperimentError


def read_decisions(path: str, digests: Sequence[str]) -> list[int]:
    """Read which rows of a pool another tool, or `instructmining select`, keeps.

    Parameters
    ----------
    path : str
        Parquet with the columns ``row`` (number in the pool, from 0) and ``kept``. With
        ``rank`` (from 1) rows are taken by it, those not kept after those kept; without it
        only those kept, in the order of the pool. With ``example`` (content hash) it is
        checked that the rows are of this pool.
    digests : sequence of str
        Content hash of every row of the pool.

    Raises
    ------
    ExperimentError
        If it cannot be read, lacks a column, names a row twice or of another pool, or keeps
        none.
    """
    try:
        frame = pl.read_parquet(Path(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ExperimentError(
            f"{path}: decisions cannot be read ({str(error).splitlines()[0]}); give Parquet with "
            "the columns row and kept"
        ) from error
    wanted = {"row": pl.Int64, "kept": pl.Boolean}
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ExperimentError(
            f"{path}: decisions without column {' and '.join(missing)}; give Parquet with both"
        )
    try:
        frame = frame.with_columns(pl.col(name).cast(kind) for name, kind in wanted.items())
        ranks = frame["rank"].cast(pl.Float64) if "rank" in frame.columns else None
    except pl.exceptions.PolarsError as error:
        raise ExperimentError(
            f"{path}: decisions whose rows or ranks are no numbers, or kept no true or false; "
            "mend them"
        ) from error
    _check_rows(path, frame, digests)
    kept = pl.col("kept").fill_null(value=False)
    # Without ranks nothing is said of the order of rows that are not kept.
    usable = kept if ranks is None else kept | pl.col("rank").is_not_null()
    order = ["dropped", *([] if ranks is None else ["rank"]), "row"]
    taken = frame.with_columns(dropped=~kept).filter(usable).sort(order, nulls_last=True)
    if not taken["kept"].any():
        raise ExperimentError(f"{path}: decisions that keep no row; keep some")
    return [int(row) for row in taken["row"]]


def _check_rows(path: str, frame: pl.DataFrame, digests: Sequence[str]) -> None:
    rows = frame["row"]
    if rows.null_count() or rows.n_unique() < frame.height:
        raise ExperimentError(
            f"{path}: decisions with a row without number, or twice; name each row once"
        )
    strange = [row for row in rows if not 0 <= row < len(digests)]
    if not strange and "example" in frame.columns:
        pairs = zip(rows, frame["example"], strict=True)
        strange = [row for row, digest in pairs if digests[row] != digest]
    if strange:
        raise ExperimentError(
            f"{path}: decisions of another pool, {len(strange):,} of {frame.height:,} rows are not "
            f"in this one of {len(digests):,} (first: row {strange[0]}); select from this pool"
        )
