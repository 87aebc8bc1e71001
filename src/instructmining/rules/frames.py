"""Named columns out of whatever table a caller holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from instructmining.errors import RuleError
from instructmining.rules.transforms import Floats

#: A polars or pandas DataFrame, a mapping of column name to values, or a matrix whose columns
#: stand in the order asked for.
TableLike: TypeAlias = Any


def column_names(table: TableLike) -> list[str] | None:
    """Names of the columns of `table`; None for a matrix."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    columns = getattr(table, "columns", None)
    return None if columns is None else [str(name) for name in columns]


def column_matrix(table: TableLike, names: Sequence[str]) -> Floats:
    """Gather the named columns, nulls as NaN.

    Parameters
    ----------
    table : TableLike
        Other columns it may hold are passed over.
    names : sequence of str
        The columns wanted, in order.

    Returns
    -------
    ndarray of shape (n_rows, len(names)), float64

    Raises
    ------
    RuleError
        If a column is missing or does not hold numbers, or a matrix has another width.
    """
    present = column_names(table)
    if present is None:
        matrix = np.asarray(table, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise RuleError(
                f"a matrix of shape {matrix.shape} came, (rows, {len(names)}) was wanted; "
                f"give the columns {', '.join(names)} in this order, or a table with names"
            )
        return matrix
    missing = [name for name in names if name not in present]
    if missing:
        raise RuleError(
            f"column {', '.join(missing)} is missing, the table has {', '.join(present)}; "
            "add it, or choose another rule"
        )
    return np.column_stack([_floats(table, name) for name in names])


def named_features(X: TableLike, names: Sequence[str] | None) -> TableLike:
    """Pick the named features; a matrix, or a frame whose columns all count, stays as it is."""
    present = column_names(X)
    if present is None or hasattr(X, "toarray") or (names is None and not isinstance(X, Mapping)):
        return X
    wanted = list(names or present)
    return pl.DataFrame(column_matrix(X, wanted), schema=wanted)


def _floats(table: TableLike, name: str) -> Floats:
    try:
        if isinstance(table, pl.DataFrame):
            return table.get_column(name).cast(pl.Float64).to_numpy()
        values = table[name]
        if hasattr(values, "to_numpy") and not isinstance(values, pl.Series):
            # pandas' nullable types need to be told what a missing value becomes.
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise RuleError(f"column {name} does not hold numbers ({error}); give floats") from error
