"""Select from a pool in parts: the rows that `selection.select_rows` keeps of the joined pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from instructmining.cluster import Resources, each
from instructmining.folders import Folder
from instructmining.parts.decide import Decided, Ruling, decide
from instructmining.parts.job import Grouping, Job, Wanted
from instructmining.parts.ledger import Ledger, Verdict
from instructmining.parts.percentiles import bracket, interpolate
from instructmining.parts.pool import Part, same_definitions
from instructmining.parts.ranking import (
    Opened,
    divide,
    find_copies,
    send_contents,
    send_predictions,
    sort_range,
)
from instructmining.parts.survey import Survey, look_within, survey
from instructmining.rules.rule import PoolStatistics, Rule
from instructmining.rules.transforms import CLIP_PERCENTILES
from instructmining.scoring.progress import Progress, Silent
from instructmining.selection.budget import Tokens, resolve
from instructmining.selection.intervals import bounds_of
from instructmining.selection.notes import (
    RankedTokens,
    budget_notes,
    interval_notes,
    overlap_notes,
    quota_notes,
)
from instructmining.selection.quota import no_such_column, share_rows
from instructmining.selection.reasons import BUDGET, QUOTA, SELECTED
from instructmining.selection.select import decisions_note

KeyT = TypeVar("KeyT")
ResultT = TypeVar("ResultT")

#: Rows that a bucket has about, so that a task holds the rows of one.
_BUCKET_ROWS = 2_000_000


@dataclass(frozen=True)
class Workers:
    """Who runs the stages, and what is told of their progress.

    Parameters
    ----------
    resources : Resources or None
        Tasks of a cluster; None for this process.
    progress : Progress
        Told of every stage.
    """

    resources: Resources | None = None
    progress: Progress = field(default_factory=Silent)

    def run(self, stage: str, function: Callable[[int], ResultT], n: int) -> list[ResultT]:
        """Return what a stage gives for each of `n` parts or buckets."""
        self.progress.start(stage, n, 0, "tasks")
        return list(self._watched(each(function, range(n), self.resources)))

    def _watched(self, results: Iterator[ResultT]) -> Iterator[ResultT]:
        for result in results:
            self.progress.advance(1)
            yield result


@dataclass(frozen=True)
class PartsSelection:
    """What was kept of a pool in parts, and what was not.

    Parameters
    ----------
    parts : tuple of Decided
        What became of each.
    facts : dict
        How it was selected, as JSON: ``budget``, ``notes`` and ``params`` as in
        `Selection.metadata`, ``columns`` and ``recorded`` of the scores.
    """

    parts: tuple[Decided, ...]
    facts: dict[str, Any]

    @property
    def reasons(self) -> dict[str, int]:
        """Rows of the pool by reason, most frequent first."""
        total = _added(part.reasons for part in self.parts)
        return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))

    @property
    def n_rows(self) -> int:
        """Rows of the pool."""
        return sum(part.n_rows for part in self.parts)

    @property
    def n_kept(self) -> int:
        """Rows kept."""
        return sum(part.n_kept for part in self.parts)


def select_parts(
    parts: Sequence[Part],
    rule: Rule,
    wanted: Wanted,
    output: Folder,
    *,
    workers: Workers | None = None,
    allow_mismatch: bool = False,
) -> PartsSelection:
    """Keep the best rows of a pool in parts, and say for every row why or why not.

    Every row has the rank and the reason that `selection.select_rows` gives it in the pool of
    all parts, one after the other, and predictions are the same to the last bit; contributions
    may differ from those in the last digits, since the pool's means are sums of sums. No process
    holds more than the rows of a part, those of a bucket, or the totals of all buckets by group.

    Parameters
    ----------
    parts : sequence of Part
        The pool, with its scores.
    rule : Rule
        What it is ranked by.
    wanted : Wanted
        How much is kept, and of which rows.
    output : Folder
        Where the rows kept of each part go, under its name, and the decisions on them.
    workers : Workers, optional
        Who runs the stages.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so.

    Raises
    ------
    InputError
        If scores are not those of their part, or are defined in several ways, or no record has
        the quota's column.
    DefinitionMismatch
        If the rule was fitted on columns defined otherwise.
    """
    budget = wanted.budget
    run = (workers or Workers()).run
    n = len(parts)
    work = output.below(".parts")
    job = Job(tuple(parts), rule, wanted, work, n_buckets=1)
    found = run("reading the parts", partial(survey, job), n)
    same_definitions(list(parts), [one.definitions for one in found])
    mismatches = rule.check(found[0].definitions, allow_mismatch=allow_mismatch)
    grouping = _grouping(job, found)
    n_rows = sum(one.n_rows for one in found)
    job = replace(job, n_buckets=1 + n_rows // _BUCKET_ROWS)
    statistics = PoolStatistics(_cuts(job, found, run))
    opened = run("predicting", partial(send_contents, job, statistics), n)
    statistics = PoolStatistics(statistics.cuts, _means(opened))
    copies = sum(run("finding copies", partial(find_copies, job), job.n_buckets))
    splitters = divide([one.sketch for one in opened], job.n_buckets)
    run("ranking", partial(send_predictions, job, grouping, splitters), n)
    ranges = run("sorting ranges", partial(sort_range, job, grouping), job.n_buckets)
    ledger = Ledger(ranges, partial(_read_range, job))
    verdict = ledger.settle(budget, n_rows, None if grouping is None else grouping.shares)
    extra = {
        "rule": rule.name,
        "status": rule.provenance_.status,
        "mismatches": mismatches,
        "out_of_range": _outside(found),
        **({"exclude_overlap": list(job.wanted.overlap.files)} if job.wanted.overlap.files else {}),
    }
    unscored = _added(one.unscored for one in opened)
    notes, params = _account(job, grouping, ledger, verdict, unscored, copies, n_rows)
    told, recorded = _overlapping(job, found)
    note = decisions_note(budget, notes + told, {**params, **recorded}, extra)
    ruling = Ruling(statistics, grouping, verdict, note, output)
    decided = run("deciding", partial(decide, job, ruling), n)
    work.remove_all()
    first = found[0]
    facts = {**note, "columns": dict(first.definitions), "recorded": dict(first.recorded)}
    return PartsSelection(tuple(decided), facts)


def _grouping(job: Job, found: Sequence[Survey]) -> Grouping | None:
    """Join the groups of all parts; where no record has a column ``source``, a part is one."""
    quota = job.wanted.quota
    if quota is None:
        return None
    if any(one.has_column for one in found) or not any(one.n_rows for one in found):
        names = [tuple(one.groups) for one in found]
    elif quota.column == "source":
        names = [
            (part.name,) if one.n_rows else () for part, one in zip(job.parts, found, strict=True)
        ]
    else:
        raise no_such_column(quota.column, [name for one in found for name in one.columns])
    rows = _added(
        dict(zip(own, one.groups.values(), strict=True))
        for own, one in zip(names, found, strict=True)
    )
    return Grouping(share_rows(rows, quota), tuple(names))


def _cuts(
    job: Job, found: Sequence[Survey], run: Callable[..., list[Any]]
) -> dict[str, tuple[float, float]]:
    """Return the percentiles of all parts at which columns are clipped."""
    sketches = {name: [one.sketches[name] for one in found] for name in job.rule.clipped}
    known = {name: sum(one.n for one in told) for name, told in sketches.items()}
    brackets = {
        name: tuple(bracket(told, percentile) for percentile in CLIP_PERCENTILES)
        for name, told in sketches.items()
        if known[name]
    }
    if not brackets:
        return {}
    within = run("finding percentiles", partial(look_within, job, brackets), len(job.parts))
    cuts = {}
    for name in brackets:
        low, high = (
            interpolate([one[name][i] for one in within], known[name], percentile)
            for i, percentile in enumerate(CLIP_PERCENTILES)
        )
        cuts[name] = (low, high)
    return cuts


def _means(opened: Sequence[Opened]) -> np.ndarray:
    n = sum(one.n_predicted for one in opened)
    total = np.sum([one.feature_sums for one in opened], axis=0)
    return total / n if n else np.full(len(total), np.nan)


def _read_range(job: Job, bucket: int) -> tuple[np.ndarray, np.ndarray]:
    rows = job.exchange("ranges").kept(bucket)
    return rows["group"], rows["cost"]


def _overlapping(job: Job, found: Sequence[Survey]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return note and parameters of the rows that overlap an evaluation file."""
    if not job.wanted.overlap.files:
        return (), {}
    kinds = _added(one.overlaps for one in found)
    n, n_rows = kinds.total(), sum(one.n_rows for one in found)
    recorded: dict[str, Any] = {"action": job.wanted.overlap.action}
    if job.wanted.overlap.similarity is not None:
        recorded["similarity"] = job.wanted.overlap.similarity
    recorded["kinds"] = dict(sorted(kinds.items()))
    return overlap_notes(n, n_rows, None), {"overlapping_rows": n, "overlap": recorded}


def _added(counts: Iterable[Mapping[KeyT, int]]) -> Counter[KeyT]:
    total = Counter[KeyT]()
    for one in counts:
        total.update(one)
    return total


def _outside(found: Sequence[Survey]) -> dict[str, int | None]:
    counts = {name: [one.n_outside[name] for one in found] for name in found[0].n_outside}
    return {
        name: None if None in each_part else sum(filter(None, each_part))
        for name, each_part in counts.items()
    }


def _account(
    job: Job,
    grouping: Grouping | None,
    ledger: Ledger,
    verdict: Verdict,
    unscored: Mapping[str, int],
    copies: int,
    n_rows: int,
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return notes and parameters of the selection, as a `Selection` has them."""
    in_tokens = isinstance(job.wanted.budget, Tokens)
    kept, ranked = int(verdict.kept.sum()), int(ledger.rows.sum())
    barred = int(ledger.rows[verdict.barred].sum())
    reasons = {
        SELECTED: kept,
        BUDGET: ranked - kept - barred,
        QUOTA: barred,
        "duplicate": copies,
        **unscored,
    }
    asked = kept if in_tokens else resolve(job.wanted.budget, n_rows)
    tokens = RankedTokens(ledger.best, ledger.cost) if in_tokens else None
    notes = budget_notes(reasons, job.wanted.budget, asked, tokens, None)
    params: dict[str, Any] = {
        "method": "predicted_log_loss",
        "rule_columns": list(job.rule.columns_),
        "pool_rows": n_rows,
        "ranked_rows": ranked,
        "kept_rows": kept,
        "last_rank": verdict.last + 1,
        "parts": len(job.parts),
    }
    if grouping is not None:
        unit, column = "tokens" if in_tokens else "rows", grouping.shares.quota.column
        shares = grouping.shares.account(
            ledger.rows.tolist(),
            [0] * len(ledger.rows),
            verdict.allowances,
            verdict.spent.tolist(),
            verdict.kept.tolist(),
        )
        params["quota"] = {"column": column, "unit": unit, "groups": shares}
        notes += quota_notes(column, shares, unit)
    intervals = job.wanted.intervals
    if intervals:
        params["within"] = bounds_of(intervals)
        notes += interval_notes(reasons, intervals, n_rows)
    return notes, params
