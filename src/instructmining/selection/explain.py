"""Why one row was kept or dropped, in plain words and exact numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from instructmining.errors import InputError
from instructmining.selection.candidates import CONTRIBUTION, VALUE
from instructmining.selection.reasons import (
    BUDGET,
    DUPLICATE,
    NEAR,
    OUTSIDE,
    OVERLAP,
    QUOTA,
    SELECTED,
    UNSCORED,
)

#: Characters quoted of the text that a row overlaps, which may be a whole page.
_QUOTED = 300


@dataclass(frozen=True)
class Contribution:
    """What one column adds to a row's predicted log loss.

    Parameters
    ----------
    column : str
        Name of the indicator column.
    contribution : float or None
        Log loss added against the pool's mean; below zero speaks for the row.
    value : float or None
        The column's own value, in its own unit; None where undefined or not stored.
    """

    column: str
    contribution: float | None
    value: float | None


@dataclass(frozen=True)
class Explanation:
    """Everything a decisions table says about one row.

    Parameters
    ----------
    row, example : int, str
        Which row it is, and its content hash.
    kept : bool
        Whether it was selected.
    reason, sentence : str
        The reason code, and the same in plain words.
    rank, ranked_rows : int or None, int
        Its place among the ranked rows, from 1, and their number.
    predicted, pool_mean : float or None
        Predicted log loss of the row, and of a row that stands at the pool's mean in
        every column of the rule; `pool_mean` plus all contributions is `predicted`.
    contributions : tuple of Contribution
        Largest absolute contribution first, undefined ones last.
    flags : tuple of str
        Reason codes of reading and scoring.
    rule, quantity : str
        The rule's name with its status, and what it predicts, see `predicted_quantity`.
    notes : tuple of str
        What holds for the whole selection, mismatches of definitions included.
    """

    row: int
    example: str
    kept: bool
    reason: str
    sentence: str
    rank: int | None
    ranked_rows: int
    predicted: float | None
    pool_mean: float | None
    contributions: tuple[Contribution, ...]
    flags: tuple[str, ...]
    rule: str
    quantity: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return nested plain data; None where something is undefined."""
        return asdict(self)


def explain(decisions: pl.DataFrame, metadata: Mapping[str, Any], row: int) -> Explanation:
    """Explain one row of a decisions table.

    Parameters
    ----------
    decisions : polars.DataFrame
        As `Selection.decisions`, or read by `load_decisions`.
    metadata : dict
        As returned by `Selection.metadata` or `load_decisions`.
    row : int
        Position in the pool, from 0.

    Raises
    ------
    InputError
        If the pool has no such row.
    """
    found = decisions.filter(pl.col("row") == row)
    if found.is_empty():
        last = f"rows 0 to {decisions.height - 1}" if decisions.height else "no rows"
        raise InputError(f"row {row} is not in these decisions, which have {last}; give one")
    record = found.row(0, named=True)
    return Explanation(
        row=record["row"],
        example=record["example"],
        kept=record["kept"],
        reason=record["reason"],
        sentence=_sentence(record, decisions, metadata) + _flagged(record),
        rank=record["rank"],
        ranked_rows=_ranked_rows(decisions, metadata),
        predicted=record["predicted"],
        pool_mean=_pool_mean(decisions),
        contributions=_contributions(record),
        flags=tuple(record["flags"] or ()),
        rule=rule_label(metadata),
        quantity=predicted_quantity(metadata),
        notes=(*metadata.get("notes", ()), *metadata.get("mismatches", ())),
    )


def _ranked_rows(decisions: pl.DataFrame, metadata: Mapping[str, Any]) -> int:
    """Return how many rows of the pool are ranked, of which the decisions may hold a part."""
    own = decisions.height - decisions["rank"].null_count()
    ranked: int = metadata.get("params", {}).get("ranked_rows", own)
    return ranked


def rule_label(metadata: Mapping[str, Any]) -> str:
    """Return the rule's name with its status, so that a pilot is called one everywhere."""
    name = str(metadata.get("rule", "")) or "unnamed"
    status = str(metadata.get("status", "") or "")
    return name if status.lower() in name.lower() else f"{name} ({status})"


def predicted_quantity(metadata: Mapping[str, Any]) -> str:
    """Return what the predictions are: a baseline only ranks, its numbers are no losses."""
    return "score" if metadata.get("status") == "baseline" else "log loss"


def _pool_mean(decisions: pl.DataFrame) -> float | None:
    """Return the prediction before any contribution, the same for every row but rounding."""
    names = [name for name in decisions.columns if name.startswith(CONTRIBUTION)]
    base = pl.col("predicted")
    if names:
        base = base - pl.sum_horizontal(names, ignore_nulls=False)
    mean: float | None = decisions.select(base.mean()).item()
    return mean


def _contributions(record: Mapping[str, Any]) -> tuple[Contribution, ...]:
    prefixes = (VALUE, CONTRIBUTION)
    columns = [name.split(":", 1)[1] for name in record if name.startswith(prefixes)]
    every = [
        Contribution(name, record.get(CONTRIBUTION + name), record.get(VALUE + name))
        for name in dict.fromkeys(columns)
    ]
    return tuple(sorted(every, key=lambda c: (c.contribution is None, -abs(c.contribution or 0.0))))


def _sentence(
    record: Mapping[str, Any], decisions: pl.DataFrame, metadata: Mapping[str, Any]
) -> str:
    reason: str = record["reason"]
    if reason in (SELECTED, BUDGET, QUOTA) or reason.startswith(NEAR):
        return _of_ranked(record, decisions, metadata)
    if reason.startswith(DUPLICATE):
        part, colon, original = reason.removeprefix(DUPLICATE).rpartition(":")
        if colon:
            return f"Dropped: an exact duplicate of row {original} of {part}, which came first."
        fate = _fate(decisions.filter(pl.col("row") == int(original))["reason"].item())
        return f"Dropped: an exact duplicate of row {original}, which came first and was {fate}."
    causes: dict[str, Callable[[str], str]] = {
        OVERLAP: lambda kind: _overlap(kind, record),
        OUTSIDE: lambda column: _outside(column, record, metadata),
        UNSCORED: _unscored,
    }
    for prefix, cause in causes.items():
        if reason.startswith(prefix):
            return f"Dropped: {cause(reason.removeprefix(prefix))}."
    return f"{'Kept' if record['kept'] else 'Dropped'}: {reason}."


def _flagged(record: Mapping[str, Any]) -> str:
    """Say how a row overlaps an evaluation file that was not dropped for it."""
    kinds = [one.removeprefix(OVERLAP) for one in record["flags"] or () if one.startswith(OVERLAP)]
    return "".join(f" Flagged: {_overlap(kind, record)}." for kind in kinds)


def _overlap(kind: str, record: Mapping[str, Any]) -> str:
    ways = {
        "prompt": "its prompt is one of an evaluation file",
        "response": "its response is a reference of an evaluation file",
        "contained": "it holds a whole prompt of an evaluation file",
        "ngram": "it shares a long run of words with an evaluation file",
        "similar": "it has most of its words in common with a text of an evaluation file",
        "embedding": "the encoder finds it nearly the same as an example of an evaluation file",
    }
    words: str = record.get("overlap") or ""
    words = words if len(words) <= _QUOTED else words[:_QUOTED].rstrip() + "…"
    return ways.get(kind, f"it overlaps an evaluation file ({kind})") + (
        f": \u201c{words}\u201d" if words else ""
    )


def _of_ranked(
    record: Mapping[str, Any], decisions: pl.DataFrame, metadata: Mapping[str, Any]
) -> str:
    reason: str = record["reason"]
    budget = metadata.get("budget", {}).get("text", "the budget")
    ranked = _ranked_rows(decisions, metadata)
    lowest = f"1 being the lowest predicted {predicted_quantity(metadata)}"
    place = f"rank {record['rank']:,} of {ranked:,}, {lowest}"
    if reason == SELECTED:
        return f"Kept: {place}, within the budget of {budget}."
    if reason == QUOTA:
        return f"Dropped: {place}; {_lost_to_quota(record, metadata)}."
    if reason.startswith(NEAR):
        return f"Dropped: {place}; {_near(record, decisions, metadata)}."
    # Decisions on a part of a pool hold not all that is kept.
    params = metadata.get("params", {})
    last = params.get("last_rank") or max(decisions.filter("kept")["rank"].to_list(), default=0)
    return f"Dropped: {place}; the budget of {budget} ended at rank {last:,}."


def _lost_to_quota(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    quota = metadata.get("params", {}).get("quota", {})
    group, column = record.get("group"), quota.get("column", "its group")
    whose = f"rows without {column}" if group is None else f"{column} {group}"
    for one in quota.get("groups", ()):
        if one["group"] == group and not one["weight"]:
            return f"{whose} has a share of 0"
    return f"{whose} had its share of the budget before it, worse rows of other groups had not"


def _near(record: Mapping[str, Any], decisions: pl.DataFrame, metadata: Mapping[str, Any]) -> str:
    other = int(record["reason"].removeprefix(NEAR))
    rank = decisions.filter(pl.col("row") == other)["rank"].item()
    least = metadata.get("params", {}).get("spacing", {}).get("min_distance")
    than = "too near" if least is None else f"nearer than {least:g}"
    return f"{than} to row {other}, which is kept at rank {rank:,}"


def _fate(reason: str) -> str:
    if reason == SELECTED:
        return "kept"
    if reason == QUOTA:
        return "dropped for its group's share"
    if reason.startswith(NEAR):
        return f"dropped as too near to row {reason.removeprefix(NEAR)}, which is kept"
    return "dropped for its rank"


def _outside(column: str, record: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    value = record.get(VALUE + column)
    its = f"its {column}" if value is None else f"its {column} is {value:.4g} and"
    bounds = metadata.get("params", {}).get("within", {}).get(column)
    if bounds is None:
        return f"{its} lies outside what was asked for"
    low, high = bounds
    limits = [f"at least {low:g}"] if low is not None else []
    limits += [f"at most {high:g}"] if high is not None else []
    return f"{its} was to be {' and '.join(limits)}"


def _unscored(what: str) -> str:
    if what == "response":
        return "the row holds nothing that can be scored"
    if what == "predicted":
        return "the rule's prediction for it is not a finite number"
    return f"{what}, which the selection needs, has no value for it"
