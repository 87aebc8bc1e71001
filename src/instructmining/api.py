"""The Python API: what the command line does, one call each.

This module composes the rooms; nothing imports it but the command line and users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.errors import InputError
from instructmining.presets import MODEL_FREE, SMALL

if TYPE_CHECKING:
    import polars as pl

    from instructmining.examples import Example
    from instructmining.experiments.execute import Executor
    from instructmining.experiments.plan import Plan
    from instructmining.formats import Pool
    from instructmining.report.summary import SelectSummary
    from instructmining.rules.rule import Rule
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.reference import ReferenceSpec
    from instructmining.scoring.store import Store
    from instructmining.scoring.table import ScoreTable
    from instructmining.selection.select import Selection


@dataclass(frozen=True)
class ExperimentSetting:
    """What all runs of an experiment share.

    Parameters
    ----------
    base_model : str or None
        Model to tune; None for the small default.
    training : dict
        Fields of `experiments.finetune.TrainingSetting` that differ from their defaults.
    size : int
        Examples per mixture.
    seeds : tuple of int
        Training seeds.
    draw_seed : int
        Seed of the mixtures' draws.
    """

    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    size: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    draw_seed: int = 0


@dataclass(frozen=True)
class Scoring:
    """How a pool is scored where scores are not given.

    Parameters
    ----------
    lm : str, optional
        Causal language model of ``nll``, ``ppl`` and ``ifd``, and tokenizer of lengths: a
        name or path; by default the small one.
    encoder : str, optional
        Sentence encoder of ``knn_i``; by default the small one.
    knn_reference : str or path, optional
        ``"pool"``, or a file, that ``knn_i`` compares with; by default a sample of the pool.
    store : path, optional
        Score store; by default in the cache folder.
    progress : Progress, optional
        Told about every stage and batch.
    """

    lm: str | None = None
    encoder: str | None = None
    knn_reference: str | Path | None = None
    store: str | Path | None = None
    progress: Progress | None = None


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
        decisions = path.with_name(path.name + ".decisions.parquet")
        selection = self.selection
        rows = selection.kept_by_rank if order == "rank" else selection.kept_rows
        self.pool.write(rows.tolist(), path)
        selection.save_decisions(decisions, self._notes)
        return decisions


def open_store(folder: Path | str | None = None) -> Store:
    """Return the score store in `folder`, by default in the cache folder."""
    from instructmining.models.sources import cache_folder
    from instructmining.scoring.store import Store

    return Store(Path(folder) if folder is not None else cache_folder() / "store")


def load_examples(source: Any, **options: Any) -> list[Example]:
    """Read every record of a pool.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, or Pool
        The pool.
    **options
        As for `formats.open_pool`: ``format``, ``columns``, ``config``, ``split``.
    """
    return list(_open(source, **options).examples())


def load_rule(name_or_path: str | Path) -> Rule:
    """Load a rule by its name in the catalogue, or from a file."""
    from instructmining.rules.catalog import load_rule as load

    return load(name_or_path)


def score(
    source: Any, columns: Sequence[str] | None = None, *, scoring: Scoring | None = None
) -> ScoreTable:
    """Compute indicators for every row of a pool.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, Pool, or list of Example
        The pool.
    columns : sequence of str, optional
        Columns wanted; by default those of the `small` preset.
    scoring : Scoring, optional
        Models, neighbour reference, store, progress.

    Returns
    -------
    ScoreTable
        One row per row of the pool, in input order; null where a value is undefined.

    Raises
    ------
    InputError
        If the pool cannot be read or no indicator fills a column.
    ModelError
        If a model is not there.
    """
    from instructmining.indicators.base import indicators_for
    from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM
    from instructmining.scoring.engine import Engine, Silent
    from instructmining.scoring.passes import Models

    how = scoring or Scoring()
    wanted = list(columns or SMALL)
    indicators = indicators_for(wanted)
    examples = _examples(source)
    models = Models(how.lm or DEFAULT_LM, how.encoder or DEFAULT_ENCODER)
    engine = Engine(open_store(how.store), models, how.progress or Silent())
    reference = _reference(how.knn_reference)
    return engine.score(examples, indicators, columns=wanted, reference=reference)


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
    pool = _open(source)
    examples = list(pool.examples())
    # The cheap columns come along, to be shown beside the rule's own.
    columns = list(dict.fromkeys([*MODEL_FREE, *chosen.columns_]))
    table = _scores_for(examples, scores, columns, scoring)
    notes = chosen.check(table.definitions, allow_mismatch=allow_mismatch)
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
    previews = {
        row: (examples[row].prompt, examples[row].response)
        for row in preview_rows(selection.decisions)
    }
    summary = summarise_selection(table.frame, selection.decisions, metadata, previews)
    return Selected(pool, selection, table, summary, extra)


def plan_experiment(
    sources: Sequence[str],
    evaluations: Sequence[str],
    *,
    mixtures: Sequence[str] = (),
    random_mixtures: int = 0,
    setting: ExperimentSetting | None = None,
) -> Plan:
    """Draw the mixtures of an experiment.

    Parameters
    ----------
    sources : sequence of str
        ``NAME=PATH`` or ``PATH`` each.
    evaluations : sequence of str
        ``NAME=PATH`` or ``NAME=PATH#PART`` each.
    mixtures : sequence of str
        ``NAME=SPEC`` each; see `experiments.specs.parse_mixture`.
    random_mixtures : int
        Mixtures of random source shares to add.
    setting : ExperimentSetting, optional
        Base model, training, size and seeds.

    Raises
    ------
    ExperimentError
        If a specification cannot be met.
    """
    from instructmining.experiments.finetune import TrainingSetting
    from instructmining.experiments.plan import Setting, make_plan
    from instructmining.experiments.specs import (
        parse_evaluation,
        parse_mixture,
        parse_source,
        random_specs,
    )
    from instructmining.models.sources import DEFAULT_LM, resolve

    chosen = setting or ExperimentSetting()
    files = resolve(chosen.base_model or DEFAULT_LM)
    pools = dict(parse_source(text) for text in sources)
    specs = [parse_mixture(text, sorted(pools)) for text in mixtures]
    specs += random_specs(random_mixtures, pools)
    return make_plan(
        pools,
        [parse_evaluation(text) for text in evaluations],
        specs,
        Setting(
            {"name": files.name, "weights": files.weights},
            TrainingSetting(**chosen.training).to_json(),
            chosen.size,
            chosen.seeds,
            chosen.draw_seed,
        ),
    )


def prepare_experiment(
    plan: Path | str,
    log: Path | str,
    *,
    columns: Sequence[str] = SMALL,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Executor:
    """Read a plan, score its mixtures and load the base model; ``.run()`` does the rest."""
    from instructmining.evaluation.inference_loss import inference_loss
    from instructmining.experiments.execute import Executor, base_model_files, score_mixtures
    from instructmining.experiments.finetune import Finetuner, TrainingSetting
    from instructmining.experiments.plan import Plan
    from instructmining.experiments.runs import RunLog, remaining
    from instructmining.indicators.base import indicators_for
    from instructmining.scoring.engine import Engine, Silent

    drawn = Plan.load(Path(plan))
    opened = RunLog(Path(log))
    remaining(drawn, opened)  # a log of another plan is refused before anything is computed
    files = base_model_files(drawn)
    engine = Engine(open_store(store), progress=progress or Silent())
    scores = score_mixtures(drawn, engine, indicators_for(columns))
    tuner = Finetuner(files, TrainingSetting(**drawn.setting.training))
    return Executor(
        drawn,
        opened,
        tuner,
        lambda model, examples: inference_loss(model, tuner.chat, examples).to_json(),
        scores,
    )


def _open(source: Any, **options: Any) -> Pool:
    from instructmining.formats import Pool, open_pool

    return source if isinstance(source, Pool) else open_pool(source, **options)


def _examples(source: Any) -> list[Example]:
    from instructmining.examples import Example

    if isinstance(source, list) and source and isinstance(source[0], Example):
        return source
    return list(_open(source).examples())


def _reference(named: str | Path | None) -> ReferenceSpec | None:
    from instructmining.scoring.reference import ReferenceSpec

    if named is None:
        return None
    if named == "pool":
        return ReferenceSpec("pool")
    return ReferenceSpec("file", list(_open(named).examples()))


def _scores_for(
    examples: list[Example],
    scores: ScoreTable | str | Path | None,
    columns: Sequence[str],
    scoring: Scoring | None,
) -> ScoreTable:
    from instructmining.scoring.table import ScoreTable

    if scores is None:
        return score(examples, columns, scoring=scoring)
    table = scores if isinstance(scores, ScoreTable) else ScoreTable.load(Path(scores))
    table.check_pool([example.digest for example in examples])
    return table
