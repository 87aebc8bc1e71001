"""The evaluation files' own rows: what is most like that which is measured.

A file that is measured on its part *report* holds rows that are not: its part *fit*. A model
tuned on these shows about what there is to win by choosing rows of a pool, however they are
chosen: none are more like the ones that are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import MixtureRow, SourcePool
from instructmining.experiments.plan import EvaluationSet, Source, content_hash
from instructmining.experiments.splits import evaluation_part
from instructmining.formats import open_pool
from instructmining.overlap.words import NGRAM, OverlapIndex

#: The part that is trained on, and the only one that may be measured beside it.
FIT, REPORT = "fit", "report"


@dataclass(frozen=True)
class Targets:
    """Rows of evaluation files that may be trained on.

    Parameters
    ----------
    sources : tuple of Source
        The files, each called as the set measured on it with ``#fit`` appended.
    rows : tuple of MixtureRow
        Their rows, file by file; none overlaps a row that is measured, none comes twice.
    """

    sources: tuple[Source, ...]
    rows: tuple[MixtureRow, ...]


def read_targets(evaluations: Sequence[EvaluationSet]) -> Targets:
    """Read the *fit* parts of the files that are measured on their *report* part.

    Parameters
    ----------
    evaluations : sequence of EvaluationSet
        Everything that is measured.

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
        ),
        NGRAM,
    )
    sources, rows = [], []
    for path, one in chosen.items():
        name = f"{one.name}#{FIT}"
        fit = evaluation_part(files[path], FIT, name=path)
        pool = SourcePool.from_examples(name, fit, measured)
        content = content_hash(example.digest for example in files[path])
        sources.append(Source(name, path, len(files[path]), content, excluded=dict(pool.excluded)))
        rows += [MixtureRow(name, row.row, row.digest) for row in pool.rows]
    # Two files may hold the same answers.
    once = {row.digest: row for row in reversed(rows)}
    kept = tuple(row for row in rows if once[row.digest] is row)
    if not kept:
        raise ExperimentError(
            "method target: every row of the fit parts overlaps one that is measured; leave the "
            "method out"
        )
    return Targets(tuple(sources), kept)
