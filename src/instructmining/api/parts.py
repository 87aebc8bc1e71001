"""Keep the best rows of a pool that is cut into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.api.scores import Scoring
from instructmining.api.selections import Amount, load_rule, score_for
from instructmining.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructmining.folders import Folder
    from instructmining.parts.pool import Part
    from instructmining.parts.select import PartsSelection, Workers
    from instructmining.rules.rule import Rule

#: Written last: a folder that has it holds a whole selection.
OUTCOME = "selection.json"


@dataclass(frozen=True)
class SelectedParts:
    """What `select_parts` returns.

    Parameters
    ----------
    output : Folder
        Where the rows kept of each part stand under its name, the decisions beside them with
        ``.decisions.parquet`` appended, and ``selection.json``.
    parts : sequence of Part
        The pool.
    selection : PartsSelection
        What was kept of each part, and how it was selected.
    """

    output: Folder
    parts: Sequence[Part]
    selection: PartsSelection

    @property
    def facts(self) -> dict[str, Any]:
        """What decided the selection, as plain data."""
        return self.selection.facts

    @property
    def files(self) -> list[str]:
        """Names of the files in the output folder, ``selection.json`` first."""
        from instructmining.selection.select import DECISIONS

        return [OUTCOME, *(part.name + end for part in self.parts for end in ("", DECISIONS))]


class KeepingParts(Amount, total=False):
    """How much `select_parts` keeps, and how it reads."""

    exclude_overlap: str | Sequence[str]
    overlap_similarity: str | float | None
    format: str | None
    columns: Mapping[str, str] | None


def select_parts(
    source: str | Path,
    output: str | Path,
    rule: Rule | str | Path = "small",
    *,
    scores: str | Path | None = None,
    allow_mismatch: bool = False,
    scoring: Scoring | None = None,
    **keeping: Unpack[KeepingParts],
) -> SelectedParts:
    """Keep the best rows of a pool in files, without having them all in one place.

    Every row has the rank and the reason that `select` gives it in one file of all rows.

    Parameters
    ----------
    source : str or path
        A pattern such as ``pool/*.jsonl`` or ``s3://BUCKET/pool/*.parquet``.
    output : str or path
        A folder, or an address of one, for the rows kept of each file and the decisions.
    rule : Rule, str or path
        A rule, its name or its file.
    scores : str or path, optional
        A folder with the score table of each file, called as it with ``.scores.parquet``
        appended; by default they are scored here, one after the other, into ``scores`` in the
        output folder.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so in every output.
    scoring : Scoring, optional
        How to score; its engine runs the stages of the selection too.
    **keeping
        ``keep``, ``keep_tokens``, ``quota``, ``within``, ``exclude_overlap`` and
        ``overlap_similarity``, as for `select` (distances between rows would need the whole
        ranking in one place); ``format`` and ``columns`` of the records, as for
        `formats.open_pool`.

    Returns
    -------
    SelectedParts
        What was kept, and where it stands.

    Raises
    ------
    InputError
        If a file, the budget or the scores cannot be used, or the folder holds a selection.
    DefinitionMismatch
        If the rule was fitted on columns defined otherwise.
    """
    from instructmining.folders import open_folder
    from instructmining.overlap.setting import OverlapSetting
    from instructmining.parts.job import Wanted
    from instructmining.parts.pool import list_parts
    from instructmining.parts.select import select_parts as run
    from instructmining.rules.rule import Rule
    from instructmining.selection.budget import choose_budget
    from instructmining.selection.intervals import columns_of, parse_intervals
    from instructmining.selection.quota import parse_quota

    quota = keeping.get("quota")
    wanted = Wanted(
        choose_budget(keeping.get("keep"), keeping.get("keep_tokens")),
        None if quota is None else parse_quota(quota),
        OverlapSetting.of(
            keeping.get("exclude_overlap", ()),
            overlap_similarity=keeping.get("overlap_similarity"),
        ),
        parse_intervals(keeping.get("within")),
    )
    chosen = rule if isinstance(rule, Rule) else load_rule(rule)
    how = scoring or Scoring()
    folder = _output(output, source)
    beside = folder.below("scores") if scores is None else open_folder(scores)
    reading = {"format": keeping.get("format"), "columns": keeping.get("columns")}
    parts = list_parts(source, beside, reading)
    also = columns_of(wanted.intervals)
    for part in parts if scores is None else ():
        table = score_for(chosen, part.open(), how, also, allow_mismatch=allow_mismatch)
        part.save_scores(table)
    found = run(parts, chosen, wanted, folder, workers=_workers(how), allow_mismatch=allow_mismatch)
    _write_outcome(folder, found)
    return SelectedParts(folder, parts, found)


def _output(output: str | Path, source: str | Path) -> Folder:
    """Return the folder to write to, unless it holds the pool or a selection."""
    from instructmining.folders import DiskFolder, open_folder, split_address

    folder = open_folder(output)
    pool = open_folder(split_address(str(source))[0])
    if isinstance(folder, DiskFolder) and isinstance(pool, DiskFolder):
        same = folder.path.resolve() == pool.path.resolve()
    else:
        same = str(folder).rstrip("/") == str(pool).rstrip("/")
    if same:
        raise InputError(f"{output}: is the folder of the pool, which stays; name another")
    if folder.has(OUTCOME):
        raise InputError(f"{output}: holds a selection already; name another folder or remove it")
    return folder


def _workers(how: Scoring) -> Workers:
    from instructmining.parts.select import Workers
    from instructmining.scoring.progress import Silent

    resources = None
    if how.engine == "ray":
        from instructmining.cluster import Resources

        resources = Resources.share(how.workers)
    return Workers(resources, how.progress or Silent())


def _write_outcome(folder: Folder, found: PartsSelection) -> None:
    from instructmining.experiments.outcome import save_sealed

    parts = [
        {"name": one.name, "rows": one.n_rows, "kept": one.n_kept, "reasons": one.reasons}
        for one in found.parts
    ]
    document = {**found.facts, "reasons": found.reasons, "parts": parts}
    with folder.placing(OUTCOME) as path:
        save_sealed(document, path)
