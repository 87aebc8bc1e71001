"""Keep the best rows of a pool, by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from instructmining.api.scores import Scoring, open_engine, open_source, score_if
from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.presets import MODEL_FREE

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Unpack

    from instructmining.api.limits import Asked
    from instructmining.formats import Pool
    from instructmining.report.page.selection import MapPoints
    from instructmining.report.summary import SelectSummary
    from instructmining.rules.rule import Rule
    from instructmining.scoring.table import Definition, ScoreTable
    from instructmining.selection.budget import Budget
    from instructmining.selection.intervals import Given
    from instructmining.selection.quota import Quota
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
    scoring : Scoring
        How the pool was scored, and which encoder draws its map.
    """

    pool: Pool
    selection: Selection
    scores: ScoreTable
    summary: SelectSummary
    scoring: Scoring = field(default_factory=Scoring, repr=False)
    _notes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def decisions(self) -> pl.DataFrame:
        """One row per row of the pool: kept or dropped, rank, contributions, reason."""
        return self.selection.decisions

    @property
    def facts(self) -> dict[str, Any]:
        """What decided the selection, as plain data: rule, budget, columns and models."""
        return {
            **self.selection.metadata(self._notes),
            "columns": dict(self.scores.definitions),
            "recorded": dict(self.scores.recorded),
        }

    @property
    def records(self) -> list[Any]:
        """The records kept, in input order, as they came."""
        return self.pool.take(self.selection.kept_rows.tolist())

    @property
    def kept(self) -> Any:
        """The rows kept, in input order, as the kind of object the pool came as.

        A `datasets.Dataset` (of the hub, too), a polars or pandas DataFrame or a pyarrow Table with
        the columns, types and index it had; of anything else the list of `records`.
        """
        return self.pool.like(self.selection.kept_rows.tolist())

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
        decisions = decisions_beside(path)
        selection = self.selection
        rows = selection.kept_by_rank if order == "rank" else selection.kept_rows
        # Both files or neither: the old decisions give way once the rows stand.
        with replacing(decisions) as temporary:
            selection.write_decisions(temporary, self._notes)
            self.pool.write(rows.tolist(), path)
        return decisions

    def write_report(self, path: Path | str, *, with_map: bool = True) -> Path:
        """Write a page to open in a browser, and its data beside it as JSON; return that path.

        Parameters
        ----------
        path : path
            Of the page; ends in ``.html``.
        with_map : bool
            Draw the pool as a map, for which its rows are embedded unless the store has them.

        Raises
        ------
        InputError
            If the page cannot be written, or what draws it is not installed.
        """
        from instructmining.report.page.html import save_page
        from instructmining.report.page.selection import selection_page, table_rows

        rows = table_rows(self.decisions)
        examples = zip(rows, self.pool.read(rows), strict=True)
        texts = {row: (example.prompt, example.response) for row, example in examples}
        points = self._map() if with_map else None
        page = selection_page(self.summary, self.scores.frame, self.decisions, texts, points)
        return save_page(page, Path(path))

    def _map(self) -> MapPoints | None:
        """Place the rows that can be embedded by the first two principal components."""
        import numpy as np

        from instructmining.report.page.selection import MapPoints

        found = open_engine(self.scoring).embed(self.pool)
        if len(found.values) < 3:
            return None
        centred = found.values - found.values.mean(axis=0)
        variances, axes = np.linalg.eigh(centred.T @ centred)
        row = np.flatnonzero(found.place >= 0)
        place = (centred @ axes[:, :-3:-1])[found.place[row]]
        return MapPoints(row, place, float(variances[-2:].sum() / max(variances.sum(), 1e-12)))


def decisions_beside(output: Path | str) -> Path:
    """Where the decisions on a selection stand: its name with ``.decisions.parquet`` appended."""
    from instructmining.selection.select import DECISIONS

    path = Path(output)
    return path.with_name(path.name + DECISIONS)


def load_rule(name_or_path: str | Path) -> Rule:
    """Load a rule by its name in the catalogue, or from a file."""
    from instructmining.rules.catalog import load_rule as load

    return load(name_or_path)


class Amount(TypedDict, total=False):
    """How much is kept, how groups share it, and of which values; see `select`."""

    keep: str | float | None
    keep_tokens: str | int | None
    quota: str | Quota | None
    within: Given | None


class Overlapping(TypedDict, total=False):
    """Which evaluation files rows may not overlap, and how; see `select`."""

    exclude_overlap: str | Sequence[str]
    overlap: str
    overlap_similarity: str | float | None
    overlap_distance: str | float | None


class Keeping(Amount, Overlapping, total=False):
    """How much `select` keeps, and what else it asks of the rows; see there."""

    diverse: bool
    min_distance: str | float | None


def select(
    source: Any,
    rule: Rule | str | Path = "small",
    *,
    scores: ScoreTable | str | Path | None = None,
    allow_mismatch: bool = False,
    scoring: Scoring | None = None,
    **keeping: Unpack[Keeping],
) -> Selected:
    """Keep the best rows of a pool, by a rule.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, DataFrame, Table, or Pool
        The pool.
    rule : Rule, str or path
        A rule, its name or its file.
    scores : ScoreTable or path, optional
        Scores of this pool; by default it is scored here.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so in every output.
    scoring : Scoring, optional
        How to score, and which encoder measures distances.
    **keeping
        ``keep`` (int, float or str): rows (int, ``"1000"``) or share of the pool (float,
        ``"0.1"``, ``"10%"``). ``keep_tokens`` (int or str): tokens to keep instead, counted
        as ``len``, such as ``"200k"``. ``min_distance`` (float or str): keep no two rows
        nearer than this, between the unit vectors of a sentence encoder. ``diverse``
        (bool): the same, at 0.45 where `min_distance` is not given. ``quota`` (str or
        Quota): share the budget over the values of a column, ``"task"``, or
        ``"task=code:30%,chat:20%"``. ``within`` (str, sequence of str or mapping): keep no row
        whose value of a column lies outside, ``"nat=-3:"``, ``["nat=-3:", "ifd=:1"]`` or
        ``{"nat": (-3, None)}``; the column need not be one of the rule.
        ``exclude_overlap`` (sequence of str): evaluation files; rows that overlap one, by their
        prompt, their response or a run of 13 words, are never kept, and the decisions say by which
        words. ``overlap`` (str): ``"flag"`` lets them compete, and flags them.
        ``overlap_similarity`` (float or str): a row overlaps, too, whose prompt or response has at
        least this share of its shingles in common with an evaluation text (their Jaccard index, 0.7
        say). ``overlap_distance`` (float or str): or whose embedding is nearer than this to that of
        an evaluation example, prompt and response together.

    Returns
    -------
    Selected
        Kept rows, decisions and summary; ``.write(path)`` puts them on disk.

    Raises
    ------
    InputError
        If the pool, the budget, the scores or an evaluation file cannot be used, no record has
        the column of the quota, or what finds near-duplicates is not installed.
    ModelError
        If a model is not there.
    DefinitionMismatch
        If the rule was fitted on columns defined otherwise.
    """
    from instructmining.report.summary import preview_rows, summarise_selection
    from instructmining.rules.rule import Rule
    from instructmining.selection.intervals import columns_of
    from instructmining.selection.select import select_rows

    budget, asked = _asked(**keeping)
    chosen = rule if isinstance(rule, Rule) else load_rule(rule)
    pool = open_source(source)
    # What cannot be asked of the records or the encoder is refused before the pool is scored.
    demands = asked.of(pool, scoring or Scoring())
    if scores is None:
        also = columns_of(asked.intervals)
        table = score_for(chosen, pool, scoring, also, allow_mismatch=allow_mismatch)
    else:
        table = _scores_of(pool, scores)
    notes = chosen.check(table.definitions, allow_mismatch=allow_mismatch)
    selection = select_rows(
        table.frame,
        chosen.predict_rows(table.frame),
        budget,
        contributions=chosen.contributions(table.frame),
        rule_columns=list(chosen.columns_),
        limits=demands.limits(),
    )
    extra = {
        "pool": pool.name,
        "rule": chosen.name,
        "status": chosen.provenance_.status,
        "mismatches": notes,
        "out_of_range": chosen.n_outside(table.frame),
        **({"exclude_overlap": list(asked.overlap.files)} if asked.overlap.files else {}),
    }
    metadata = selection.metadata(extra)
    shown = preview_rows(selection.decisions)
    previews = {row: (e.prompt, e.response) for row, e in zip(shown, pool.read(shown), strict=True)}
    summary = summarise_selection(table.frame, selection.decisions, metadata, previews)
    return Selected(pool, selection, table, summary, scoring or Scoring(), extra)


def score_for(
    rule: Rule,
    pool: Pool,
    scoring: Scoring | None,
    also: Sequence[str] = (),
    *,
    allow_mismatch: bool,
) -> ScoreTable:
    """Score a pool by a rule's columns and others, unless the rule was fitted on other columns."""

    def check(definitions: Mapping[str, Definition]) -> list[str]:
        return rule.check(definitions, allow_mismatch=allow_mismatch)

    # The cheap columns come along, to be shown beside the rule's own.
    columns = list(dict.fromkeys([*MODEL_FREE, *rule.columns_, *also]))
    return score_if(pool, columns, scoring, check)


def _asked(
    keep: str | float | None = None,
    keep_tokens: str | int | None = None,
    diverse: bool = False,
    min_distance: str | float | None = None,
    quota: str | Quota | None = None,
    within: Given | None = None,
    **overlapping: Unpack[Overlapping],
) -> tuple[Budget, Asked]:
    from instructmining.api.limits import Asked
    from instructmining.overlap.setting import OverlapSetting
    from instructmining.selection.budget import choose_budget
    from instructmining.selection.intervals import parse_intervals
    from instructmining.selection.quota import parse_quota
    from instructmining.selection.spacing import DEFAULT_DISTANCE, parse_distance

    budget = choose_budget(keep, keep_tokens)
    distance = DEFAULT_DISTANCE if diverse else None
    if min_distance is not None:
        distance = parse_distance(min_distance)
    shares = None if quota is None else parse_quota(quota)
    overlap = OverlapSetting.of(**overlapping)
    return budget, Asked(distance, shares, overlap, parse_intervals(within))


def _scores_of(pool: Pool, scores: ScoreTable | str | Path) -> ScoreTable:
    from instructmining.formats.objects import local_path
    from instructmining.scoring.digests import as_series
    from instructmining.scoring.flags import FlagCodes
    from instructmining.scoring.rows import PoolIndex
    from instructmining.scoring.table import ScoreTable

    table = scores if isinstance(scores, ScoreTable) else ScoreTable.load(local_path(scores))
    table.check_pool(as_series(PoolIndex.read(pool, FlagCodes()).digests))
    return table
