"""Keep the rows of lowest predicted log loss, and say for every row why or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from instructmining.errors import InputError, StoreError
from instructmining.files import replacing
from instructmining.scoring.table import FIXED_COLUMNS
from instructmining.selection.budget import Budget, Tokens, resolve
from instructmining.selection.candidates import (
    closed_reasons,
    finite,
    in_order,
    needed_columns,
    value_columns,
)
from instructmining.selection.choose import Choice, choose
from instructmining.selection.intervals import Interval, bounds_of
from instructmining.selection.notes import (
    RankedTokens,
    budget_notes,
    interval_notes,
    overlap_notes,
    quota_notes,
    spacing_notes,
)
from instructmining.selection.overlaps import Overlaps
from instructmining.selection.quota import Groups
from instructmining.selection.reasons import (
    BUDGET,
    DUPLICATE,
    NEAR,
    QUOTA,
    SELECTED,
    count_reasons,
)
from instructmining.selection.spacing import Nearby, Spacing
from instructmining.tables import ForeignTable, UnreadableTable, read_table, write_table

#: Appended to the name of the rows kept for the decisions on them.
DECISIONS = ".decisions.parquet"

_ARTEFACT = "decisions"
_REQUIRED = ("row", "example", "kept", "rank", "predicted", "reason", "flags")


@dataclass(frozen=True)
class Selection:
    """What was kept, what was not, and why.

    Parameters
    ----------
    decisions : polars.DataFrame
        Every row of the pool in input order: ``row`` (int64), ``example`` (content hash),
        ``kept`` (bool), ``rank`` (int64, from 1, null where not ranked), ``predicted``
        (log loss, float64, lower is better, null where undefined), per rule column
        ``value:<column>`` and, if given, ``contribution:<column>`` (float64), with a quota
        ``group`` (null for rows without its column), where overlap was looked for
        ``overlap`` (the matched text, null without), ``reason``, and ``flags`` (list of
        reason codes).
    budget : Rows, Fraction or Tokens
        What was asked for.
    notes : tuple of str
        What a reader must know, one sentence each.
    params : dict
        How it was selected, as JSON.
    """

    decisions: pl.DataFrame
    budget: Budget
    notes: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept_rows(self) -> np.ndarray:
        """Row numbers of the kept rows in input order, int64, shape (n_kept,)."""
        return self._kept()["row"].to_numpy()

    @property
    def kept_by_rank(self) -> np.ndarray:
        """Row numbers of the kept rows, best first, int64, shape (n_kept,)."""
        return self._kept().sort("rank")["row"].to_numpy()

    @property
    def reasons(self) -> dict[str, int]:
        """Rows by reason, see `count_reasons`; sums to the rows of the pool."""
        return count_reasons(self.decisions)

    def metadata(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what `save_decisions` writes down beside the rows.

        Parameters
        ----------
        extra : dict, optional
            What only the caller knows. Explanations and summaries read ``pool`` (name),
            ``rule`` (name), ``status`` (such as ``"pilot"``), ``mismatches`` (sentences)
            and ``out_of_range`` (column to number of rows); other keys are kept.
        """
        return decisions_note(self.budget, self.notes, self.params, extra)

    def save_decisions(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the decisions as Parquet; an existing file is replaced only by a whole one.

        Parameters
        ----------
        path : Path
            By custom the selected file's name with ``.decisions.parquet`` appended.
        metadata : dict, optional
            JSON values stored with it, see `Selection.metadata`.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        with replacing(path) as temporary:
            self.write_decisions(temporary, metadata)

    def write_decisions(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the decisions straight to `path`, one that `files.replacing` gave, say."""
        write_table(self.decisions, path, self.metadata(metadata))

    def _kept(self) -> pl.DataFrame:
        return self.decisions.filter("kept")


def decisions_note(
    budget: Budget,
    notes: Sequence[str],
    params: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is written down beside decisions, see `Selection.metadata`."""
    own = {
        "artefact": _ARTEFACT,
        "budget": budget.to_json(),
        "notes": list(notes),
        "params": dict(params),
    }
    return {**(extra or {}), **own}


def load_decisions(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a decisions table and its metadata.

    Raises
    ------
    StoreError
        If the file is missing, damaged, not Parquet, or not a decisions table.
    """
    advice = "name a decisions file that `instructmining select` wrote"
    try:
        frame, metadata = read_table(path)
    except ForeignTable as error:
        raise StoreError(f"{path}: Parquet, but not of instructmining; {advice}") from error
    except UnreadableTable as error:
        raise StoreError(f"{path}: cannot be read as decisions ({error}); {advice}") from error
    if metadata.get("artefact") != _ARTEFACT:
        raise StoreError(f"{path}: of instructmining, but not a decisions table; {advice}")
    missing = [name for name in _REQUIRED if name not in frame.columns]
    if missing:
        raise StoreError(f"{path}: decisions without column {', '.join(missing)}; {advice}")
    return frame, metadata


@dataclass(frozen=True)
class Limits:
    """What is asked of the rows kept, besides a good prediction.

    Parameters
    ----------
    spacing : Spacing, optional
        How far apart they must be; a row without an embedding is never kept.
    groups : Groups, optional
        How groups of rows share the budget.
    overlaps : Overlaps, optional
        Rows that overlap an evaluation file, and whether they may be kept.
    intervals : tuple of Interval
        What values columns may have; a row without a value is never kept.
    """

    spacing: Spacing | None = None
    groups: Groups | None = None
    overlaps: Overlaps | None = None
    intervals: tuple[Interval, ...] = ()


def select_rows(
    frame: pl.DataFrame,
    predicted: np.ndarray,
    budget: Budget,
    *,
    contributions: pl.DataFrame | None,
    rule_columns: Sequence[str],
    limits: Limits | None = None,
) -> Selection:
    """Rank rows by predicted log loss and keep the best up to the budget.

    A row without a value in a column the rule (or a token budget) uses is never kept. Of
    rows with equal content the first that has its values can be kept. The others are
    ranked by `predicted`, lowest first, ties by input order, and kept up to the budget:
    the best of all, or with a spacing or groups as `choose` says.

    Parameters
    ----------
    frame : polars.DataFrame
        The frame of a `ScoreTable`: ``row``, ``example``, indicator columns, ``flags``.
    predicted : numpy.ndarray, shape (n,)
        Predicted log loss of each row, lower is better; NaN where undefined.
    budget : Rows, Fraction or Tokens
        How much to keep.
    contributions : polars.DataFrame or None
        One float column of n rows per rule column, named as that column: what it adds to
        the prediction, against the pool's mean.
    rule_columns : sequence of str
        Columns the prediction was made from, in the rule's order.
    limits : Limits, optional
        What else is asked of the rows kept.

    Returns
    -------
    Selection
        A decision for every row.

    Raises
    ------
    InputError
        If lengths differ or a needed column is absent.
    """
    limits = limits or Limits()
    spacing, groups, overlaps = limits.spacing, limits.groups, limits.overlaps
    predicted = np.asarray(predicted, dtype=np.float64)
    needed = needed_columns(rule_columns, budget, limits.intervals)
    _check(frame, predicted, contributions, needed=needed, rule_columns=rule_columns)
    place = None if spacing is None else spacing.places(frame.height)
    if groups is not None and len(groups.of) != frame.height:
        raise InputError(f"groups of {len(groups.of)} rows for {frame.height} rows; give one each")
    closed = closed_reasons(frame, predicted, needed, place, overlaps, limits.intervals)
    table = _candidates(frame, predicted, closed)
    ranked = np.flatnonzero(table["reason"].is_null().to_numpy())
    ranked = ranked[np.argsort(predicted[ranked], kind="stable")]
    lengths = frame["len"].to_numpy()[ranked] if isinstance(budget, Tokens) else None
    asked = resolve(budget, frame.height, lengths)
    costs = np.ones(len(ranked), int) if lengths is None else np.ceil(lengths).astype(int)
    of = np.zeros(len(ranked), int) if groups is None else groups.of[ranked]
    if spacing is None and groups is None:
        choice = Choice.front(len(ranked), asked)
    else:
        total = budget.n if isinstance(budget, Tokens) else asked
        choice = _choose(total, costs, of, limits, None if place is None else place[ranked])
    decisions = _decide(table, ranked, choice).hstack(
        value_columns(frame, contributions, rule_columns, limits.intervals)
    )
    decisions = in_order(_labelled(decisions, limits))
    params: dict[str, Any] = {
        "method": "predicted_log_loss",
        "rule_columns": list(rule_columns),
        "pool_rows": frame.height,
        "ranked_rows": len(ranked),
        "kept_rows": int(choice.kept.sum()),
    }
    tokens, distance = RankedTokens.of(lengths), spacing.distance if spacing else None
    notes = budget_notes(count_reasons(decisions), budget, asked, tokens, distance)
    if spacing is not None and place is not None:
        notes += spacing_notes(spacing, place[ranked[choice.near >= 0]])
        params["spacing"] = {"min_distance": spacing.distance, **spacing.recorded}
    if groups is not None:
        shares, column = groups.account(of, costs, choice), groups.shares.quota.column
        unit = "rows" if lengths is None else "tokens"
        params["quota"] = {"column": column, "unit": unit, "groups": shares}
        notes += quota_notes(column, shares, unit)
    if limits.intervals:
        params["within"] = bounds_of(limits.intervals)
        notes += interval_notes(count_reasons(decisions), limits.intervals, frame.height)
    if overlaps is not None:
        params["overlapping_rows"] = len(overlaps.found)
        params["overlap"] = overlaps.to_json()
        notes += overlap_notes(len(overlaps.found), frame.height, overlaps.kept(decisions))
        notes += overlaps.notes
    return Selection(decisions, budget, notes, params)


def _choose(
    total: int, costs: np.ndarray, of: np.ndarray, limits: Limits, place: np.ndarray | None
) -> Choice:
    """Choose `total` rows or tokens of a ranking, apart and by group as the limits say."""
    nearby = None if place is None else Nearby(cast(Spacing, limits.spacing), place)
    return choose(total, costs, limits.groups.shares if limits.groups else None, of, nearby)


def _labelled(decisions: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Add the group of every row, and the text that it overlaps, where they matter."""
    if limits.groups is not None:
        names = pl.Series(limits.groups.shares.names, dtype=pl.String)
        decisions = decisions.with_columns(group=names.gather(limits.groups.of))
    return decisions if limits.overlaps is None else limits.overlaps.label(decisions)


def _candidates(frame: pl.DataFrame, predicted: np.ndarray, reason: pl.Series) -> pl.DataFrame:
    """Return row, example, flags, prediction, and the reason of rows that cannot be kept."""
    open_rows = frame.select("row", "example", reason).filter(pl.col("reason").is_null())
    first = open_rows.select("row", first=pl.col("row").first().over("example"))
    copies = first.filter(pl.col("row") != pl.col("first")).select(
        "row", duplicate=DUPLICATE + pl.col("first").cast(pl.String)
    )
    return (
        frame.select("row", "example", "flags", reason)
        .with_columns(predicted=finite(predicted))
        .join(copies, on="row", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "duplicate"))
    )


def _check(
    frame: pl.DataFrame,
    predicted: np.ndarray,
    contributions: pl.DataFrame | None,
    *,
    needed: Sequence[str],
    rule_columns: Sequence[str],
) -> None:
    if predicted.shape != (frame.height,):
        raise InputError(
            f"predictions of shape {predicted.shape} for {frame.height} rows; "
            "give one prediction per row"
        )
    for name in (*FIXED_COLUMNS, *needed):
        if name not in frame.columns:
            raise InputError(
                f"column {name!r} is not among the scores ({', '.join(frame.columns)}); "
                "score it first"
            )
    if contributions is None:
        return
    if contributions.height != frame.height:
        raise InputError(
            f"contributions of {contributions.height} rows for {frame.height} rows; "
            "give one per row"
        )
    absent = [name for name in rule_columns if name not in contributions.columns]
    if absent:
        raise InputError(
            f"contributions have no column {', '.join(absent)}; give one per rule column"
        )


def _decide(table: pl.DataFrame, ranked: np.ndarray, choice: Choice) -> pl.DataFrame:
    """Add ``rank``, ``kept`` and the reasons of the rows that can be kept."""
    rows = table["row"].to_numpy()
    verdict = pl.DataFrame(
        {
            "row": rows[ranked],
            "rank": np.arange(1, len(ranked) + 1),
            "kept": choice.kept,
            "passed_over": choice.passed_over,
            "near": np.where(choice.near < 0, -1, rows[ranked[choice.near]]),
        }
    )
    reason = (
        pl.when("kept")
        .then(pl.lit(SELECTED))
        .when(pl.col("near") >= 0)
        .then(NEAR + pl.col("near").cast(pl.String))
        .when("passed_over")
        .then(pl.lit(QUOTA))
        .otherwise(pl.lit(BUDGET))
    )
    return table.join(verdict, on="row", how="left", maintain_order="left").with_columns(
        kept=pl.col("kept").fill_null(value=False), reason=pl.coalesce("reason", reason)
    )
