"""Recorded transforms: what a rule does to a column before its coefficient applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from instructmining.errors import RuleError

Floats = NDArray[np.float64]
#: The lowest and the highest value that ``clip`` lets stand.
Cut = tuple[float, float]

#: Percentiles of the pool at which ``clip`` cuts.
CLIP_PERCENTILES = (1.0, 99.0)


def apply_transform(name: str, values: np.ndarray, cut: Cut | None = None) -> Floats:
    """Transform one column of a pool, row by row.

    Parameters
    ----------
    name : str
        One of `TRANSFORMS`.
    values : ndarray of shape (n_rows,)
        Raw values of **all** rows of the pool: without a `cut` given, ``clip`` cuts at percentiles
        of what it is given, so a part of a pool is clipped otherwise than the whole.
    cut : tuple of float, optional
        Where ``clip`` cuts, such as the percentiles of a pool that `values` are a part of.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        NaN where the value is undefined: NaN or infinite before, or below -1 for ``log1p``
        (-1 itself included).

    Raises
    ------
    RuleError
        If no transform has that name.

    Notes
    -----
    Applied to rows before averaging over a mixture, so that the means a rule is fitted on and
    the rows it is applied to speak of the same thing.
    """
    require_transform(name)
    floats = np.array(values, dtype=np.float64)
    floats[~np.isfinite(floats)] = np.nan
    return TRANSFORMS[name](floats, cut)


def clips(name: str) -> bool:
    """Whether a transform cuts at percentiles, so that it has to know the whole pool."""
    return name.startswith("clip")


def require_transform(name: str) -> None:
    """Raise `RuleError` unless `name` is one of `TRANSFORMS`."""
    if name not in TRANSFORMS:
        raise RuleError(f"transform {name!r} is unknown; choose one of {', '.join(TRANSFORMS)}")


def feature_name(column: str, transform: str) -> str:
    """Name of a transformed column, such as ``log1p(len_out)``; plain for the identity."""
    return column if transform == "identity" else f"{transform}({column})"


def _identity(values: Floats, cut: Cut | None) -> Floats:
    return values


def _log1p(values: Floats, cut: Cut | None) -> Floats:
    return np.log1p(np.where(values > -1.0, values, np.nan))


def _clip(values: Floats, cut: Cut | None) -> Floats:
    if cut is None:
        defined = values[~np.isnan(values)]
        if defined.size == 0:
            return values
        low, high = np.percentile(defined, CLIP_PERCENTILES)
    else:
        low, high = cut
    return np.clip(values, low, high)


def _clip_log1p(values: Floats, cut: Cut | None) -> Floats:
    return _log1p(_clip(values, cut), cut)


#: Transforms by the name that rules and run logs record.
TRANSFORMS: Mapping[str, Callable[[Floats, Cut | None], Floats]] = {
    "identity": _identity,
    "log1p": _log1p,
    "clip": _clip,
    "clip+log1p": _clip_log1p,
}
