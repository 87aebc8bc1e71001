"""What is asked of every part before any row can be judged: sizes, groups, cuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.formats import open_prompts
from instructmining.overlap.search import TextSearch
from instructmining.overlap.texts import Overlap
from instructmining.parts.job import Job
from instructmining.parts.percentiles import Bracket, Sketch, Within
from instructmining.rules.frames import column_matrix
from instructmining.scoring.digests import as_series, pack
from instructmining.scoring.table import ScoreTable
from instructmining.selection.quota import GroupValues, read_values


@dataclass(frozen=True)
class Survey:
    """What a part tells of itself.

    Parameters
    ----------
    n_rows : int
        Its rows.
    definitions, recorded : dict
        Of its scores, see `ScoreTable`.
    sketches : mapping of column to Sketch
        Of the columns that the rule clips.
    n_outside : mapping of column to int or None
        Values outside the range seen in the rule's fit, see `Rule.n_outside`.
    groups : mapping of name to int
        Rows of each value of the quota's column; empty without a quota.
    has_column : bool
        Whether any record has that column.
    columns : tuple of str
        Columns of the records, for a suggestion.
    overlaps : mapping of str to int
        Rows that overlap an evaluation file, by the way in which.
    """

    n_rows: int
    definitions: Mapping[str, Any]
    recorded: Mapping[str, Any]
    sketches: Mapping[str, Sketch]
    n_outside: Mapping[str, int | None]
    groups: Mapping[str | None, int]
    has_column: bool
    columns: tuple[str, ...]
    overlaps: Mapping[str, int]


def survey(job: Job, index: int) -> Survey:
    """Read a part to its end, and its scores.

    Raises
    ------
    InputError
        If the scores are not those of the part.
    """
    part = job.parts[index]
    table, overlaps = part.load_scores(), Counter[str]()
    digests = pack(example.digest for example in _looked_over(job, index, overlaps))
    try:
        table.check_pool(as_series(digests))
    except InputError as error:
        raise InputError(f"{part.name}: {error}") from None
    job.rule.check(table.definitions, allow_mismatch=True)
    values = _groups(job, index) if job.wanted.quota is not None else None
    return Survey(
        n_rows=table.frame.height,
        definitions=dict(table.definitions),
        recorded=dict(table.recorded),
        sketches={name: Sketch.of(values) for name, values in _clipped(job, table).items()},
        n_outside=job.rule.n_outside(table.frame),
        groups={} if values is None else values.rows,
        has_column=values is not None and values.present,
        columns=() if values is None else values.columns,
        overlaps=dict(overlaps),
    )


def look_within(
    job: Job, brackets: Mapping[str, tuple[Bracket, ...]], index: int
) -> dict[str, tuple[Within, ...]]:
    """Return what a part has within the brackets of each column's percentiles."""
    clipped = _clipped(job, job.parts[index].load_scores())
    return {
        name: tuple(Within.of(clipped[name], one) for one in wanted)
        for name, wanted in brackets.items()
    }


def _clipped(job: Job, table: ScoreTable) -> dict[str, np.ndarray]:
    names = job.rule.clipped
    return dict(zip(names, column_matrix(table.frame, names).T, strict=True)) if names else {}


def _groups(job: Job, index: int) -> GroupValues:
    """Read the groups of a part, and keep them: records are read in no later stage."""
    assert job.wanted.quota is not None
    values = read_values(job.parts[index].open().records(), job.wanted.quota.column)
    job.exchange("groups").keep(index, {"group": values.of})
    return values


def _looked_over(job: Job, index: int, kinds: Counter[str]) -> Iterator[Example]:
    """Stream the examples of a part; keep what of it overlaps an evaluation file, and count it."""
    examples = job.parts[index].open().examples()
    if not job.wanted.overlap.files:
        yield from examples
        return
    files = [open_prompts(path) for path in job.wanted.overlap.files]
    search = TextSearch(
        job.wanted.overlap, lambda: chain.from_iterable(one.examples() for one in files)
    )
    found: list[tuple[int, Overlap]] = []
    for example in examples:
        overlap = search.find(example)
        if overlap is not None:
            found.append((example.row, overlap))
        yield example
    columns = {
        "row": np.asarray([row for row, _ in found], dtype=np.int64),
        "kind": np.asarray([overlap.kind for _, overlap in found], dtype=object),
        "text": np.asarray([overlap.text for _, overlap in found], dtype=object),
    }
    job.exchange("overlaps").keep(index, columns)
    kinds.update(overlap.kind for _, overlap in found)
