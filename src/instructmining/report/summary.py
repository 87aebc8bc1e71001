"""What a selection came to, as plain data; every way of showing it starts here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from instructmining.examples import Example
from instructmining.scoring.table import FIXED_COLUMNS
from instructmining.selection.candidates import VALUE
from instructmining.selection.explain import predicted_quantity, rule_label
from instructmining.selection.reasons import UNSCORED, count_beginning, count_reasons

#: Where the text of a row comes from: a function, or (prompt, response) by row number.
Previews = Callable[[int], Example] | Mapping[int, tuple[str, str]]

SHOWN_ROWS = 5
PREVIEW_CHARACTERS = 200


@dataclass(frozen=True)
class Spread:
    """Quartiles of one column over some rows, in its own unit.

    Parameters
    ----------
    minimum, q25, median, q75, maximum : float or None
        Linear interpolation between order statistics; None if no row has a value.
    n, n_null : int
        Rows with a value, and without.
    """

    minimum: float | None
    q25: float | None
    median: float | None
    q75: float | None
    maximum: float | None
    n: int
    n_null: int


@dataclass(frozen=True)
class IndicatorSummary:
    """One indicator column, pool against selection.

    Parameters
    ----------
    column : str
        Name of the column.
    in_rule : bool
        Whether the rule reads it.
    pool, selection : Spread
        Over all rows of the pool and over the kept ones.
    out_of_range : int or None
        Rows of the pool outside the range the rule was fitted on; None if not counted.
    """

    column: str
    in_rule: bool
    pool: Spread
    selection: Spread
    out_of_range: int | None


@dataclass(frozen=True)
class RowPreview:
    """One row in a line.

    Parameters
    ----------
    row, rank : int
        Position in the pool from 0, place in the ranking from 1.
    kept : bool
        Whether it was selected.
    predicted : float
        Predicted log loss, lower is better.
    prompt, response : str
        White space collapsed, at most `PREVIEW_CHARACTERS` characters; otherwise as in
        the data, so it must be escaped for where it is shown.
    """

    row: int
    rank: int
    kept: bool
    predicted: float
    prompt: str
    response: str


@dataclass(frozen=True)
class LongestOverlap:
    """What keeping the longest responses would have kept of the same rows.

    Parameters
    ----------
    n : int
        Rows kept either way: as many as the selection has, of the ranked rows, by
        ``len_out`` descending, ties by input order.
    shared : int
        Rows in both.
    """

    n: int
    shared: int

    @property
    def share(self) -> float:
        """Shared rows over rows kept, 0 to 1; 0 if nothing was kept."""
        return self.shared / self.n if self.n else 0.0


@dataclass(frozen=True)
class GroupSummary:
    """One group of a quota.

    Parameters
    ----------
    name : str or None
        Value of the column; None for rows without one.
    n_pool, n_kept : int
        Rows of the pool and rows kept.
    weight : float
        Share of the budget that it was to have, 0 to 1.
    share, spent : int
        Given at first and used at last, in the unit of the budget.
    """

    name: str | None
    n_pool: int
    n_kept: int
    weight: float
    share: int
    spent: int


@dataclass(frozen=True)
class SelectSummary:
    """A selection in figures.

    Parameters
    ----------
    pool : str
        Name of the pool.
    n_pool, n_scored, n_unscored, n_duplicates, n_flagged, n_kept : int
        Rows in all; with and without the values the selection needs; exact copies set
        aside (scored too); with at least one flag; kept.
    flags, reasons : dict
        Rows by flag and by reason, most frequent first. A row may have several flags.
    budget : dict
        As `Budget.to_json`: ``kind``, its number, and ``text``.
    rule, status, rule_label : str
        The rule's name, its status, and both in words; a pilot says so.
    quantity : str
        What the rule predicts: ``"log loss"``, or ``"score"`` for a baseline.
    notes : tuple of str
        What a reader must know, mismatches of definitions included.
    indicators : tuple of IndicatorSummary
        Columns of the rule first, in its order, then the others.
    best, worst : tuple of RowPreview
        The first of the ranking, best first, and the last of it, worst first; no row
        stands in both.
    longest : LongestOverlap or None
        None if ``len_out`` was not scored.
    min_distance : float or None
        Least distance of two rows kept; None if none was asked for.
    quota, groups : str or None, tuple of GroupSummary
        Column the budget was shared by, and its groups; None and empty if by none.
    """

    pool: str
    n_pool: int
    n_scored: int
    n_unscored: int
    n_duplicates: int
    n_flagged: int
    n_kept: int
    flags: Mapping[str, int]
    reasons: Mapping[str, int]
    budget: Mapping[str, Any]
    rule: str
    status: str
    rule_label: str
    quantity: str
    notes: tuple[str, ...] = ()
    indicators: tuple[IndicatorSummary, ...] = ()
    best: tuple[RowPreview, ...] = ()
    worst: tuple[RowPreview, ...] = ()
    longest: LongestOverlap | None = field(default=None)
    min_distance: float | None = None
    quota: str | None = None
    groups: tuple[GroupSummary, ...] = ()

    @property
    def headline(self) -> str:
        """What was asked and what came out, in one sentence."""
        asked = f"budget {self.budget.get('text', 'unknown')}"
        if self.quota is not None:
            asked += f" shared by {self.quota}"
        if self.min_distance is not None:
            asked += f", no two rows nearer than {self.min_distance:g}"
        return (
            f"Kept {self.n_kept:,} of {self.n_pool:,} rows of {self.pool}: the lowest "
            f"{self.quantity} predicted by rule {self.rule_label}, {asked}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return nested plain data with the headline; None where something is undefined."""
        plain = {"kind": "select", "headline": self.headline, **asdict(self)}
        if self.longest is not None:
            plain["longest"]["share"] = self.longest.share
        return plain


def preview_rows(decisions: pl.DataFrame) -> tuple[int, ...]:
    """Return the numbers of the rows whose text `summarise_selection` will ask for."""
    best, worst = _ends(decisions)
    return tuple(sorted([*best["row"], *worst["row"]]))


def summarise_selection(
    scores: pl.DataFrame,
    decisions: pl.DataFrame,
    metadata: Mapping[str, Any],
    previews: Previews | None,
) -> SelectSummary:
    """Count, measure and quote a selection.

    Parameters
    ----------
    scores : polars.DataFrame
        The frame of the `ScoreTable` the selection was made from, n rows.
    decisions : polars.DataFrame
        As `Selection.decisions` or `load_decisions`, the same n rows in the same order.
    metadata : dict
        As `Selection.metadata` or `load_decisions`; keys are listed there.
    previews : callable or dict
        Text of the rows that `preview_rows` names: row to Example, or row number to
        (prompt, response). None quotes no row.
    """
    reasons = count_reasons(decisions)
    unscored = count_beginning(reasons, UNSCORED)
    best, worst = _ends(decisions)
    params = metadata.get("params", {})
    quota = params.get("quota", {})
    return SelectSummary(
        pool=str(metadata.get("pool") or "the pool"),
        n_pool=decisions.height,
        n_scored=decisions.height - unscored,
        n_unscored=unscored,
        n_duplicates=reasons.get("duplicate", 0),
        n_flagged=decisions.filter(pl.col("flags").list.len() > 0).height,
        n_kept=int(decisions["kept"].sum()),
        flags=_count_flags(decisions),
        reasons=reasons,
        budget=dict(metadata.get("budget", {})),
        rule=str(metadata.get("rule") or "unnamed"),
        status=str(metadata.get("status") or ""),
        rule_label=rule_label(metadata),
        quantity=predicted_quantity(metadata),
        notes=(*metadata.get("notes", ()), *metadata.get("mismatches", ())),
        indicators=tuple(_indicators(scores, decisions, metadata)),
        best=_previews(best, previews),
        worst=_previews(worst, previews),
        longest=_longest(scores, decisions),
        min_distance=params.get("spacing", {}).get("min_distance"),
        quota=quota.get("column"),
        groups=tuple(_group(one) for one in quota.get("groups", ())),
    )


def summarise_decisions(decisions: pl.DataFrame, metadata: Mapping[str, Any]) -> SelectSummary:
    """Return what a decisions table says by itself: the rule's columns, and no row's text.

    Parameters
    ----------
    decisions, metadata
        As `load_decisions` gives them.
    """
    values = decisions.select(pl.col(f"^{VALUE}.*$").name.map(lambda name: name[len(VALUE) :]))
    return summarise_selection(values, decisions, metadata, None)


def one_line(text: str, length: int = PREVIEW_CHARACTERS) -> str:
    """Collapse white space and cut to at most `length` characters, the last then ``…``."""
    # A response may have hundreds of thousands of characters; only its beginning is read.
    line = " ".join(text[: 4 * length].split())
    whole = len(text) <= 4 * length and len(line) <= length
    return line if whole else line[: length - 1].rstrip() + "…"


def _ends(decisions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    ranking = decisions.filter(pl.col("rank").is_not_null()).sort("rank")
    n_worst = min(SHOWN_ROWS, max(0, ranking.height - SHOWN_ROWS))
    return ranking.head(SHOWN_ROWS), ranking.tail(n_worst).reverse()


def _previews(rows: pl.DataFrame, previews: Previews | None) -> tuple[RowPreview, ...]:
    shown: list[RowPreview] = []
    if previews is None:
        return ()
    for record in rows.select("row", "rank", "kept", "predicted").iter_rows(named=True):
        if callable(previews):
            example = previews(record["row"])
            prompt, response = example.prompt, example.response
        else:
            prompt, response = previews[record["row"]]
        shown.append(RowPreview(**record, prompt=one_line(prompt), response=one_line(response)))
    return tuple(shown)


def _group(one: Mapping[str, Any]) -> GroupSummary:
    return GroupSummary(
        name=one["group"],
        n_pool=one["rows"],
        n_kept=one["kept"],
        weight=one["weight"],
        share=one["share"],
        spent=one["spent"],
    )


def _count_flags(decisions: pl.DataFrame) -> dict[str, int]:
    flags = decisions.select(flag=pl.col("flags").list.unique()).explode("flag").drop_nulls()
    counts = flags.group_by("flag").len().sort(["len", "flag"], descending=[True, False])
    return dict(counts.iter_rows())


def _indicators(
    scores: pl.DataFrame, decisions: pl.DataFrame, metadata: Mapping[str, Any]
) -> Iterable[IndicatorSummary]:
    used = [name for name in metadata.get("params", {}).get("rule_columns", ())]
    others = [name for name in scores.columns if name not in (*FIXED_COLUMNS, *used)]
    outside = metadata.get("out_of_range", {})
    kept = scores.filter(decisions["kept"])
    for name in [name for name in used if name in scores.columns] + others:
        if scores.schema[name].is_numeric():
            spreads = _spread(scores[name]), _spread(kept[name])
            yield IndicatorSummary(name, name in used, *spreads, outside.get(name))


def _spread(values: pl.Series) -> Spread:
    numbers = values.cast(pl.Float64)
    present = numbers.filter(numbers.is_finite())  # null and NaN fail the test, too

    def at(share: float) -> float | None:
        return present.quantile(share, interpolation="linear")

    n = len(present)
    return Spread(at(0), at(0.25), at(0.5), at(0.75), at(1), n=n, n_null=len(values) - n)


def _longest(scores: pl.DataFrame, decisions: pl.DataFrame) -> LongestOverlap | None:
    if "len_out" not in scores.columns:
        return None
    kept = int(decisions["kept"].sum())
    longest = (
        decisions.select("kept", "rank", scores["len_out"])
        .filter(pl.col("rank").is_not_null())
        .sort("len_out", descending=True, nulls_last=True, maintain_order=True)
        .head(kept)
    )
    return LongestOverlap(n=kept, shared=int(longest["kept"].sum()))
