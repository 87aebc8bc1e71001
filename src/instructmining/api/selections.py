"""Keep the best rows of a pool, by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.api.scores import Scoring, open_source, score_if
from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.presets import MODEL_FREE

if TYPE_CHECKING:
    import polars as pl

    from instructmining.formats import Pool
    from instructmining.report.summary import SelectSummary
    from instructmining.rules.rule import Rule
    from instructmining.scoring.table import Definition, ScoreTable
    from instructmining.selection.select import Selection


@dataclass(frozen=True)
class Selected:
    """What `select` returns.

    Parameters
    ----------
    pool : Pool
        The pool selected from.
    selection : Selection
        Kept, dropped and the reason for every row.
    scores : ScoreTable
        The scores it was made from.
    summary : SelectSummary
        What it came to, as plain data.
    """

    pool: Pool
    selection: Selection
    scores: ScoreTable
    summary: SelectSummary
    _notes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def decisions(self) -> pl.DataFrame:
        """One row per row of the pool: kept or dropped, rank, contributions, reason."""
        return self.selection.decisions

    @property
    def records(self) -> list[Any]:
        """The records kept, in input order, as they came."""
        return self.pool.take(self.selection.kept_rows.tolist())

    def write(self, output: Path | str, *, order: str = "input") -> Path:
        """Write the rows kept to `output` and the decisions beside it; return their path.

        Parameters
        ----------
        output : path
            Where the rows go, as they came.
        order : str
            ``"input"`` or ``"rank"``.
        """
        if order not in ("input", "rank"):
            raise InputError(f"order {order!r}: wanted input or rank")
        path = Path(output)
        if self.pool.path is not None and path.resolve() == Path(self.pool.path).resolve():
            raise InputError(f"{path}: is the pool itself, which stays as it is; name another file")
        decisions = path.with_name(path.name + ".decisions.parquet")
        selection = self.selection
        rows = selection.kept_by_rank if order == "rank" else selection.kept_rows
        # Both files or neither: the old decisions give way once the rows stand.
        with replacing(decisions) as temporary:
            selection.write_decisions(temporary, self._notes)
            self.pool.write(rows.tolist(), path)
        return decisions


def load_rule(name_or_path: str | Path) -> Rule:
    """Load a rule by its name in the catalogue, or from a file."""
    from instructmining.rules.catalog import load_rule as load

    return load(name_or_path)


def select(
    source: Any,
    rule: Rule | str | Path = "small",
    *,
    keep: str | float | None = None,
    keep_tokens: str | int | None = None,
    scores: ScoreTable | str | Path | None = None,
    allow_mismatch: bool = False,
    scoring: Scoring | None = None,
) -> Selected:
    """Keep the best rows of a pool, by a rule.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, or Pool
        The pool.
    rule : Rule, str or path
        A rule, its name or its file.
    keep : int, float or str
        Rows (int, ``"1000"``) or share of the pool (float, ``"0.1"``, ``"10%"``).
    keep_tokens : int or str
        Tokens to keep instead, counted as ``len``, such as ``"200k"``.
    scores : ScoreTable or path, optional
        Scores of this pool; by default it is scored here.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so in every output.
    scoring : Scoring, optional
        How to score.

    Returns
    -------
    Selected
        Kept rows, decisions and summary; ``.write(path)`` puts them on disk.

    Raises
    ------
    InputError
        If the pool, the budget or the scores cannot be used.
    DefinitionMismatch
        If the rule was fitted on columns defined otherwise.
    """
    from instructmining.report.summary import preview_rows, summarise_selection
    from instructmining.rules.rule import Rule
    from instructmining.selection.budget import choose_budget
    from instructmining.selection.select import select_rows

    budget = choose_budget(keep, keep_tokens)
    chosen = rule if isinstance(rule, Rule) else load_rule(rule)
    pool = open_source(source)
    # The cheap columns come along, to be shown beside the rule's own.
    columns = list(dict.fromkeys([*MODEL_FREE, *chosen.columns_]))

    def check(definitions: Mapping[str, Definition]) -> list[str]:
        return chosen.check(definitions, allow_mismatch=allow_mismatch)

    table = score_if(pool, columns, scoring, check) if scores is None else _scores_of(pool, scores)
    notes = check(table.definitions)
    selection = select_rows(
        table.frame,
        chosen.predict_rows(table.frame),
        budget,
        contributions=chosen.contributions(table.frame),
        rule_columns=list(chosen.columns_),
    )
    extra = {
        "pool": pool.name,
        "rule": chosen.name,
        "status": chosen.provenance_.status,
        "mismatches": notes,
        "out_of_range": chosen.n_outside(table.frame),
    }
    metadata = selection.metadata(extra)
    shown = preview_rows(selection.decisions)
    previews = {row: (e.prompt, e.response) for row, e in zip(shown, pool.read(shown), strict=True)}
    summary = summarise_selection(table.frame, selection.decisions, metadata, previews)
    return Selected(pool, selection, table, summary, extra)


def _scores_of(pool: Pool, scores: ScoreTable | str | Path) -> ScoreTable:
    from instructmining.scoring.digests import as_series
    from instructmining.scoring.flags import FlagCodes
    from instructmining.scoring.rows import PoolIndex
    from instructmining.scoring.table import ScoreTable

    table = scores if isinstance(scores, ScoreTable) else ScoreTable.load(Path(scores))
    table.check_pool(as_series(PoolIndex.read(pool, FlagCodes()).digests))
    return table
