"""What methods may take of a pool and what they go by, and the folder their runs go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from instructmining.api.scores import Scoring, open_source, score_if
from instructmining.api.selections import load_rule
from instructmining.errors import ExperimentError

if TYPE_CHECKING:
    import numpy as np

    from instructmining.examples import Example
    from instructmining.experiments.contest.choosing import Candidates
    from instructmining.experiments.plan import Plan, Setting
    from instructmining.experiments.planning import Materials
    from instructmining.experiments.specs import MethodSpec
    from instructmining.rules.rule import Rule
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.table import Definition, ScoreTable


@dataclass(frozen=True)
class Sighting:
    """How a pool is looked at.

    Parameters
    ----------
    rule : Rule or None
        Of the method ``rule``.
    scores : ScoreTable or path, optional
        Scores of the pool; by default it is scored, as `scoring` says.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so.
    scoring : Scoring, optional
        How to score.
    """

    rule: Rule | None = None
    scores: ScoreTable | str | Path | None = None
    allow_mismatch: bool = False
    scoring: Scoring | None = None


@dataclass(frozen=True)
class Seen:
    """A pool as methods see it.

    Parameters
    ----------
    materials : Materials
        Without the rows that cannot be trained on.
    candidates : Candidates
        The rows methods may take, with what they go by.
    scores : ScoreTable
        Of the pool, the columns in use.
    notes : list of str
        Where the rule does not fit the columns.
    """

    materials: Materials
    candidates: Candidates
    scores: ScoreTable
    notes: list[str]


def look_at(
    materials: Materials,
    methods: Sequence[MethodSpec],
    setting: Setting,
    how: Sighting,
    progress: Progress | None = None,
) -> Seen:
    """Score a pool for some methods, unless it is scored, and count its rows' tokens.

    Parameters
    ----------
    materials : Materials
        Of one pool.
    methods : sequence of MethodSpec
        Those that will choose.
    setting : Setting
        The base model and the training, which cuts long rows.
    how : Sighting
        Rule, scores.
    progress : Progress, optional
        Told about scoring.

    Raises
    ------
    ExperimentError
        If the scores lack a column a method goes by.
    """
    from instructmining.experiments.contest.choosing import TARGET
    from instructmining.experiments.contest.comparing import read_candidates

    digests, listed = _digests(materials, methods)
    scores, values, said = _scores(materials, digests, methods, how, progress)
    count = _counter(setting)
    candidates, materials = read_candidates(materials, count, values, listed)
    seen = Seen(materials, candidates, scores, said)
    if any(method.name == TARGET for method in methods):
        return _with_targets(seen, count)
    return seen


def _with_targets(seen: Seen, count: Callable[[Sequence[Example]], list[int]]) -> Seen:
    """Put the evaluation files' own rows beside the pool; they have no scores."""
    import polars as pl

    from instructmining.experiments.contest.targets import read_targets

    targets, files = read_targets(seen.materials.evaluations, count)
    known = set(seen.scores.frame["example"])
    digests = [row.digest for row in targets.rows if row.digest not in known]
    unscored = pl.DataFrame({"example": digests}, schema={"example": pl.String})
    frame = pl.concat([seen.scores.frame, unscored], how="diagonal")
    return replace(
        seen,
        materials=replace(seen.materials, sources=(*seen.materials.sources, *files)),
        candidates=replace(seen.candidates, target=targets),
        scores=replace(seen.scores, frame=frame),
    )


def rule_for(methods: Sequence[MethodSpec], rule: Rule | str | Path | None) -> Rule | None:
    """Load the rule where it is a method; None where it is not.

    Raises
    ------
    ExperimentError
        If it is a method and none is named.
    """
    from instructmining.rules.catalog import list_rules
    from instructmining.rules.rule import Rule

    if all(method.name != "rule" for method in methods):
        return None
    if rule is None:
        raise ExperimentError(
            f"method rule came without a rule; name one (--rule), of {', '.join(list_rules())} or "
            "a file, or leave the method out"
        )
    return rule if isinstance(rule, Rule) else load_rule(rule)


def settle(plan: Plan, folder: Path, what: str) -> None:
    """Write a plan into its folder, or refuse a folder in which another was begun.

    Parameters
    ----------
    plan : Plan
        What will be run.
    folder : Path
        Will hold ``plan.json``, ``runs.jsonl`` and ``<what>.json``.
    what : str
        ``"comparison"`` or ``"search"``.

    Raises
    ------
    ExperimentError
        If it holds another plan, or the runs of one, or may not be written to.
    """
    from instructmining.experiments.plan import Plan
    from instructmining.experiments.runs import RunLog, remaining
    from instructmining.files import check_target

    path = folder / "plan.json"
    if path.exists() and Plan.load(path).hash != plan.hash:
        raise ExperimentError(
            f"{folder}: holds a {what} of other rows, methods or settings; give the options "
            "and files it was begun with, or choose another folder"
        )
    check_target(folder / f"{what}.json")
    remaining(plan, RunLog(folder / "runs.jsonl"))
    if not path.exists():
        plan.save(path)


def _digests(
    materials: Materials, methods: Sequence[MethodSpec]
) -> tuple[list[str], dict[str, list[int]]]:
    """Content hashes of the pool's rows, and what tables of decisions take of them."""
    from instructmining.experiments.contest.decisions import read_decisions

    digests = [example.digest for example in open_source(materials.sources[0].path).examples()]
    listed = {
        method.name: read_decisions(method.decisions, digests)
        for method in methods
        if method.decisions is not None
    }
    return digests, listed


def _scores(
    materials: Materials,
    digests: Sequence[str],
    methods: Sequence[MethodSpec],
    how: Sighting,
    progress: Progress | None,
) -> tuple[ScoreTable, dict[str, np.ndarray], list[str]]:
    """Scores of the pool, what methods go by in them, and where the rule does not fit."""
    import polars as pl

    from instructmining.experiments.contest.choosing import PREDICTED, columns_of
    from instructmining.scoring.table import ScoreTable

    rule = how.rule
    wanted = columns_of(methods)
    columns = list(dict.fromkeys([*(rule.columns_ if rule else ()), *wanted]))

    def check(definitions: Mapping[str, Definition]) -> list[str]:
        return rule.check(definitions, allow_mismatch=how.allow_mismatch) if rule else []

    if how.scores is not None:
        given = how.scores
        table = given if isinstance(given, ScoreTable) else ScoreTable.load(Path(given))
        table.check_pool(pl.Series(digests, dtype=pl.String))
    elif columns:
        scoring = how.scoring or Scoring()
        scoring = replace(scoring, progress=progress or scoring.progress)
        table = score_if(open_source(materials.sources[0].path), columns, scoring, check)
    else:
        table = ScoreTable(pl.DataFrame({"example": digests}).with_row_index("row"), {})
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise ExperimentError(
            f"the scores have no column {', '.join(absent)}, which a method goes by; score the "
            "pool with it, or leave the method out"
        )
    said = check(table.definitions)
    values = {name: table.frame[name].cast(pl.Float64).to_numpy() for name in wanted}
    if rule is not None:
        values[PREDICTED] = rule.predict_rows(table.frame)
    frame = table.frame.select("row", "example", *columns)
    logged = ScoreTable(frame, {name: table.definitions[name] for name in columns}, table.recorded)
    return logged, values, said


def _counter(setting: Setting) -> Callable[[Sequence[Example]], list[int]]:
    """Count loss-bearing tokens as training cuts examples."""
    from instructmining.experiments.tuning.finetune import target_tokens
    from instructmining.models.chat import ChatTokenizer
    from instructmining.models.sources import resolve

    folder = resolve(setting.base_model["name"]).folder
    chat = ChatTokenizer(folder, max_tokens=setting.training["max_tokens"])
    return lambda examples: target_tokens(chat, examples)
