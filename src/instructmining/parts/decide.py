"""Say for every row of a part why it is kept or not, and write what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from instructmining.files import replacing
from instructmining.folders import Folder
from instructmining.parts.job import Grouping, Job, group_of
from instructmining.parts.ledger import Verdict
from instructmining.parts.ranking import Judged, judge
from instructmining.rules.rule import PoolStatistics
from instructmining.selection.candidates import finite, in_order, value_columns
from instructmining.selection.reasons import BUDGET, DUPLICATE, QUOTA, SELECTED, count_reasons
from instructmining.selection.select import DECISIONS
from instructmining.tables import write_table


@dataclass(frozen=True)
class Ruling:
    """All that decides on the rows of any part.

    Parameters
    ----------
    statistics : PoolStatistics
        Of the whole pool.
    grouping : Grouping or None
        Groups of the rows, where they share the budget.
    verdict : Verdict
        Which ranks are kept.
    note : mapping
        Written beside the decisions of every part, see `Selection.metadata`.
    output : Folder
        Where the rows kept go, and the decisions.
    """

    statistics: PoolStatistics
    grouping: Grouping | None
    verdict: Verdict
    note: Mapping[str, Any]
    output: Folder


@dataclass(frozen=True)
class Decided:
    """What became of a part.

    Parameters
    ----------
    name : str
        Of the part.
    n_rows, n_kept : int
        Its rows, and those kept.
    reasons : dict
        Rows by reason, see `count_reasons`.
    """

    name: str
    n_rows: int
    n_kept: int
    reasons: dict[str, int]


def decide(job: Job, ruling: Ruling, index: int) -> Decided:
    """Decide on the rows of a part; write those kept, as they came, and the decisions."""
    judged = judge(job, ruling.statistics, index)
    decisions = _decisions(job, ruling, judged, index)
    part, kept = job.parts[index], decisions.filter("kept")["row"].to_list()
    note = {**ruling.note, "part": part.name}
    named = part.name + DECISIONS
    with ruling.output.placing(named) as path:
        _write_decisions(decisions, path, note)
    with ruling.output.placing(part.name) as path:
        part.open().write(kept, path)
    return Decided(part.name, decisions.height, len(kept), count_reasons(decisions))


def _decisions(job: Job, ruling: Ruling, judged: Judged, index: int) -> pl.DataFrame:
    frame = judged.table.frame
    contributions = job.rule.contributions(frame, ruling.statistics)
    table = (
        frame.select("row", "example", "flags")
        .with_columns(judged.reason, predicted=finite(judged.predicted))
        .join(_copies(job, index), on="row", how="left", maintain_order="left")
        .join(_ranked(job, ruling, index), on="row", how="left", maintain_order="left")
        .with_columns(
            kept=pl.col("kept").fill_null(value=False),
            reason=pl.coalesce("reason", "duplicate", "fate"),
        )
        .hstack(value_columns(frame, contributions, job.rule.columns_, job.wanted.intervals))
    )
    if ruling.grouping is not None:
        names = pl.Series("group", ruling.grouping.shares.names, dtype=pl.String)
        table = table.with_columns(names.gather(ruling.grouping.of(job, index)))
    return in_order(table if judged.overlaps is None else judged.overlaps.label(table))


def _copies(job: Job, index: int) -> pl.DataFrame:
    """Return the rows that repeat an earlier one, and which; with its part where it is another."""
    found = job.exchange("copies").receive(index, job.n_buckets)
    names = pl.Series([part.name + ":" for part in job.parts])
    elsewhere = pl.Series(found["first_part"] != index)
    return pl.DataFrame({"row": found["row"], "first": found["first_row"]}).select(
        "row",
        duplicate=DUPLICATE
        + pl.when(elsewhere).then(names.gather(found["first_part"])).otherwise(pl.lit(""))
        + pl.col("first").cast(pl.String),
    )


def _ranked(job: Job, ruling: Ruling, index: int) -> pl.DataFrame:
    """Return the ranked rows of a part with their rank, from 1, and what became of them."""
    found = job.exchange("places").receive(index, job.n_buckets)
    verdict, rows, bucket = ruling.verdict, found["row"], found["sender"]
    group = group_of(job, ruling.grouping, index, rows)
    rank = verdict.offsets[bucket] + found["rank"]
    kept = verdict.keeps(rank, group, verdict.group_offsets[bucket, group] + found["place"])
    passed_over = verdict.passes_over(rank, group) & (ruling.grouping is not None)
    fate = np.where(kept, SELECTED, np.where(passed_over, QUOTA, BUDGET))
    columns = {"row": rows, "rank": rank + 1, "kept": kept}
    return pl.DataFrame({**columns, "fate": pl.Series(fate.tolist(), dtype=pl.String)})


def _write_decisions(decisions: pl.DataFrame, path: Path, note: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        write_table(decisions, temporary, note)
