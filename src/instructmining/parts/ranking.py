"""Rank the rows of all parts: copies are left out, then every range of predictions sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from instructmining.parts.job import Grouping, Job, group_of
from instructmining.parts.percentiles import Sketch
from instructmining.rules.rule import PoolStatistics
from instructmining.scoring.digests import pack
from instructmining.scoring.table import ScoreTable
from instructmining.selection.budget import Tokens
from instructmining.selection.candidates import closed_reasons
from instructmining.selection.overlaps import Overlaps


@dataclass(frozen=True)
class Judged:
    """The scores of a part, and what they say of every row by itself.

    Parameters
    ----------
    table : ScoreTable
        The scores of its n rows.
    predicted : ndarray of float64, shape (n,)
        Predicted log loss.
    reason : polars.Series of str, length n
        Why a row cannot be kept; null for one that may be.
    overlaps : Overlaps or None
        Rows that overlap an evaluation file, where that was looked for.
    """

    table: ScoreTable
    predicted: np.ndarray
    reason: pl.Series
    overlaps: Overlaps | None

    @property
    def open_rows(self) -> np.ndarray:
        """Rows that may be kept, unless another has the same content; int64, ascending."""
        return np.flatnonzero(self.reason.is_null().to_numpy())


def judge(job: Job, statistics: PoolStatistics, index: int) -> Judged:
    """Predict the rows of a part, each by itself."""
    table = job.parts[index].load_scores()
    predicted = job.rule.predict_rows(table.frame, statistics)
    overlaps = _overlaps(job, index) if job.wanted.overlap.files else None
    reason = closed_reasons(
        table.frame, predicted, job.needed, None, overlaps, job.wanted.intervals
    )
    return Judged(table, predicted, reason, overlaps)


def _overlaps(job: Job, index: int) -> Overlaps:
    kept = job.exchange("overlaps").kept(index)
    found = zip(kept["row"].tolist(), kept["kind"], kept["text"], strict=True)
    return Overlaps({row: (kind, text) for row, kind, text in found})


@dataclass(frozen=True)
class Opened:
    """What a part tells of its rows once they are predicted.

    Parameters
    ----------
    n_predicted : int
        Rows that can be predicted.
    feature_sums : ndarray of float64, shape (n_columns,)
        Of the rule's features over those.
    sketch : Sketch
        Of the predictions of rows that may be kept.
    unscored : dict
        Rows that may not, by reason.
    """

    n_predicted: int
    feature_sums: np.ndarray
    sketch: Sketch
    unscored: dict[str, int]


def send_contents(job: Job, statistics: PoolStatistics, index: int) -> Opened:
    """Send what may be kept of a part to the buckets of its contents; keep its predictions."""
    judged = judge(job, statistics, index)
    rows = judged.open_rows
    halves = pack(judged.table.frame["example"].gather(rows)).view(">u8").reshape(-1, 2)
    contents = {"row": rows, "high": halves[:, 0].astype("u8"), "low": halves[:, 1].astype("u8")}
    bucket = (contents["high"] % np.uint64(job.n_buckets)).astype(np.int64)
    job.exchange("contents").send(index, contents, bucket, job.n_buckets)
    costs = np.ones(len(rows), dtype=np.int64)
    if isinstance(job.wanted.budget, Tokens):
        costs = np.ceil(judged.table.frame["len"].to_numpy()[rows]).astype(np.int64)
    predicted = {"row": rows, "predicted": judged.predicted[rows], "cost": costs}
    job.exchange("predicted").keep(index, predicted)
    features = job.rule.transform_rows(judged.table.frame, statistics).to_numpy()
    known = features[~np.isnan(features).any(axis=1)]
    return Opened(
        len(known),
        known.sum(axis=0),
        Sketch.of(judged.predicted[rows]),
        dict(judged.reason.drop_nulls().value_counts().iter_rows()),
    )


def find_copies(job: Job, bucket: int) -> int:
    """Tell the parts which of their rows in a bucket repeat an earlier one; return how many do."""
    found = job.exchange("contents").receive(bucket, len(job.parts))
    order = np.lexsort((found["row"], found["sender"], found["low"], found["high"]))
    sender, row, high, low = (found[name][order] for name in ("sender", "row", "high", "low"))
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    first = np.flatnonzero(~repeats)[np.cumsum(~repeats) - 1]
    copies = np.flatnonzero(repeats)
    told = {
        "row": row[copies],
        "first_part": sender[first[copies]],
        "first_row": row[first[copies]],
    }
    job.exchange("copies").send(bucket, told, sender[copies], len(job.parts))
    return len(copies)


def divide(sketches: list[Sketch], n: int) -> np.ndarray:
    """Return what divides the predictions into `n` ranges of about the same number of rows.

    Returns
    -------
    ndarray of float64, shape (n - 1,)
        Ascending; a prediction belongs to the range of as many as are at most equal to it.
    """
    told = np.concatenate([one.values for one in sketches])
    if not len(told):
        return np.zeros(n - 1)
    weight = np.concatenate([np.full(len(one.values), one.step) for one in sketches])
    order = np.argsort(told, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(share, np.arange(1, n) / n)
    splitters: np.ndarray = told[order][np.minimum(at, len(told) - 1)]
    return splitters


def send_predictions(
    job: Job, grouping: Grouping | None, splitters: np.ndarray, index: int
) -> None:
    """Send the rows of a part that repeat no other to the ranges of their predictions."""
    kept = job.exchange("predicted").kept(index)
    copies = job.exchange("copies").receive(index, job.n_buckets)["row"]
    first = ~np.isin(kept["row"], copies, assume_unique=True)
    columns = {name: values[first] for name, values in kept.items()}
    columns["group"] = group_of(job, grouping, index, columns["row"])
    to = np.searchsorted(splitters, columns["predicted"], "right")
    job.exchange("predictions").send(index, columns, to, job.n_buckets)


@dataclass(frozen=True)
class Range:
    """What a range of predictions holds of each group.

    Parameters
    ----------
    rows, costs : ndarray of int64, shape (n_groups,)
        Rows, and what they take of the budget.
    """

    rows: np.ndarray
    costs: np.ndarray


def sort_range(job: Job, grouping: Grouping | None, bucket: int) -> Range:
    """Tell the parts at which places their rows in a range stand; return what it holds."""
    found: dict[str, Any] = job.exchange("predictions").receive(bucket, len(job.parts))
    # Equal predictions stay in the order of parts and rows.
    order = np.argsort(found["predicted"], kind="stable")
    group, cost = found["group"][order], found["cost"][order]
    rank = np.arange(len(order))
    places = {"row": found["row"][order], "rank": rank, "place": places_of(group)}
    job.exchange("places").send(bucket, places, found["sender"][order], len(job.parts))
    job.exchange("ranges").keep(bucket, {"group": group, "cost": cost})
    n = 1 if grouping is None else len(grouping.shares.names)
    # Whole numbers up to 2^53 are exact as floats.
    return Range(
        np.bincount(group, minlength=n), np.bincount(group, cost, minlength=n).astype(np.int64)
    )


def places_of(group: np.ndarray) -> np.ndarray:
    """Return how many of the same group stand before each, int64, shape (n,)."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    begins = np.searchsorted(ordered, ordered, "left")
    places = np.empty(len(group), dtype=np.int64)
    places[order] = np.arange(len(group)) - begins
    return places
