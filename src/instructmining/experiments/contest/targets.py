"""The evaluation files' own rows: what is most like that which is measured.

A file that is measured on its part *report* holds rows that are not: its part *fit*. A model
tuned on these shows about what there is to win by choosing rows of a pool, however they are
chosen: none are more like the ones that are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.contest.choosing import Candidates
from instructmining.experiments.mixtures import MixtureRow, SourcePool
from instructmining.experiments.plan import EvaluationSet, Source
from instructmining.experiments.planning import describe
from instructmining.experiments.splits import FIT, REPORT, evaluation_part
from instructmining.formats import open_pool
from instructmining.overlap.words import OverlapIndex


def read_targets(
    evaluations: Sequence[EvaluationSet], count: Callable[[Sequence[Example]], Sequence[int]]
) -> tuple[Candidates, tuple[Source, ...]]:
    """Read the *fit* parts of the files that are measured on their *report* part.

    Parameters
    ----------
    evaluations : sequence of EvaluationSet
        Everything that is measured.
    count : callable
        As for `comparing.read_candidates`.

    Returns
    -------
    Candidates, tuple of Source
        The rows that may be trained on, file by file, none of which overlaps a row that is
        measured or comes twice; and the files, each called as the set measured on it with
        ``#fit`` appended.

    Raises
    ------
    ExperimentError
        If no file is measured on its report part alone, or nothing is left to train on.
    """
    parts: dict[str, set[str]] = {}
    for one in evaluations:
        parts.setdefault(one.path, set()).add(one.part)
    chosen = {one.path: one for one in evaluations if parts[one.path] == {REPORT}}
    if not chosen:
        raise ExperimentError(
            "method target takes the fit part of files that are measured on their report part, "
            f"{', '.join(f'{one.name} ({one.part})' for one in evaluations)} came; give "
            "--eval NAME=PATH#report"
        )
    files = {path: list(open_pool(path).examples()) for path in parts}
    measured = OverlapIndex.build(
        chain.from_iterable(
            evaluation_part(files[one.path], one.part, name=one.path) for one in evaluations
        )
    )
    sources: list[Source] = []
    # Two files may hold the same answers.
    found: dict[str, tuple[MixtureRow, Example]] = {}
    for path, one in chosen.items():
        name = f"{one.name}#{FIT}"
        fit = evaluation_part(files[path], FIT, name=path)
        pool = SourcePool.from_examples(name, fit, measured)
        sources.append(describe(name, path, files[path], pool))
        by_row = {example.row: example for example in fit}
        for row in pool.rows:
            planned = MixtureRow(name, row.row, row.digest)
            found.setdefault(row.digest, (planned, by_row[row.row]))
    tokens = np.asarray(count([example for _, example in found.values()]), dtype=np.int64)
    kept = np.flatnonzero(tokens > 0)
    if not len(kept):
        raise ExperimentError(
            "method target: every row of the fit parts overlaps one that is measured; leave the "
            "method out"
        )
    planned_rows = [row for row, _ in found.values()]
    return Candidates(tuple(planned_rows[i] for i in kept), tokens[kept]), tuple(sources)
