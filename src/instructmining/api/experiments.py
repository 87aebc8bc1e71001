"""Plan experiments and make them ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from instructmining.api.scores import Scoring, open_engine
from instructmining.presets import SMALL

if TYPE_CHECKING:
    from instructmining.experiments.contest.answering import Answering
    from instructmining.experiments.design import Design
    from instructmining.experiments.execute import Executor, RunMaker
    from instructmining.experiments.plan import Plan, Setting
    from instructmining.experiments.planning import Materials
    from instructmining.experiments.runs import Log, RunLog
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.table import ScoreTable

#: Rows of each source that are scored and drawn from where mixtures are designed.
DESIGN_ROWS = 1_000
#: Appended to the name of a run log for the folder of what is known of runs under way.
UNFINISHED = ".unfinished"
#: What is spread where no columns are named: the small preset's, each transform the one that
#: makes its distribution least skewed (lengths and MTLD have long tails).
DESIGN_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "len_in": "clip+log1p",
        "len_out": "clip+log1p",
        "nll": "clip",
        "mtld": "clip+log1p",
        "knn_6": "clip",
        "nat": "clip",
    }
)


@dataclass(frozen=True)
class ExperimentSetting:
    """What all runs of an experiment share.

    Parameters
    ----------
    base_model : str or None
        Model to tune; None for the small default.
    training : dict
        Fields of `experiments.tuning.training.TrainingSetting` that differ from their defaults.
    size : int
        Examples per mixture.
    seeds : tuple of int
        Training seeds.
    draw_seed : int
        Seed of the mixtures' draws.
    replicated : int, optional
        Only so many mixtures, the first, are run with every seed; by default all are.
    per_source : int, optional
        Rows of each source that are drawn from; by default all, and `DESIGN_ROWS` where
        mixtures are designed, for which all these rows have to be scored.
    """

    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    size: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    draw_seed: int = 0
    replicated: int | None = None
    per_source: int | None = None

    def for_plan(self) -> Setting:
        """Return the setting as a plan holds it, the base model found."""
        from instructmining.experiments.plan import Setting
        from instructmining.experiments.tuning.training import TrainingSetting
        from instructmining.models.sources import DEFAULT_LM, resolve

        files = resolve(self.base_model or DEFAULT_LM)
        return Setting(
            {"name": files.name, "weights": files.weights},
            TrainingSetting(**self.training).to_json(),
            self.size,
            self.seeds,
            self.draw_seed,
            replicated=self.replicated,
        )


@dataclass(frozen=True)
class Designing:
    """Mixtures to be designed rather than drawn at random.

    Parameters
    ----------
    n : int
        How many.
    columns : mapping of column to transform, optional
        Indicators whose means shall differ; by default `DESIGN_COLUMNS`.
    logged : sequence of str
        Further indicators to score, for the run log.
    store : path, optional
        Score store; by default in the cache folder.
    scores : path, optional
        Scores an earlier plan of the same rows left beside it: nothing is scored then.
    """

    n: int
    columns: Mapping[str, str] | None = None
    logged: Sequence[str] = SMALL.columns
    store: Path | str | None = None
    scores: Path | str | None = None


@dataclass(frozen=True)
class Planned:
    """A plan; where mixtures were designed, what they can tell, and the scores of all rows.

    Parameters
    ----------
    plan : Plan
        What will be run.
    design : Design or None
        The designed mixtures.
    scores : ScoreTable or None
        Of every row the mixtures were chosen from.
    """

    plan: Plan
    design: Design | None = None
    scores: ScoreTable | None = None

    def save(self, path: Path | str) -> list[Path]:
        """Write the plan, and the scores beside it; return what was written.

        `prepare_experiment` finds the scores there, so that runs clip and transform as the
        design did, and nothing is scored twice.
        """
        self.plan.save(Path(path))
        if self.scores is None:
            return [Path(path)]
        self.scores.save(scores_beside(path))
        return [Path(path), scores_beside(path)]


def scores_beside(plan: Path | str) -> Path:
    """Where the scores of a designed plan lie: ``plan.scores.parquet`` for ``plan.json``."""
    return Path(plan).with_suffix(".scores.parquet")


def plan_experiment(
    sources: Sequence[str],
    evaluations: Sequence[str],
    *,
    mixtures: Sequence[str] = (),
    random_mixtures: int = 0,
    designing: Designing | None = None,
    setting: ExperimentSetting | None = None,
    progress: Progress | None = None,
) -> Planned:
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
    designing : Designing, optional
        Mixtures to design; all mixtures are then drawn from the rows that are scored for it.
    setting : ExperimentSetting, optional
        Base model, training, size and seeds.
    progress : Progress, optional
        Told about scoring.

    Raises
    ------
    ExperimentError
        If a specification cannot be met.
    """
    from instructmining.experiments.design import design_mixtures
    from instructmining.experiments.planning import make_plan, read_materials
    from instructmining.experiments.specs import (
        parse_evaluation,
        parse_mixture,
        parse_source,
        random_specs,
    )
    from instructmining.experiments.tilting import ScoredRows

    chosen = setting or ExperimentSetting()
    pools = dict(parse_source(text) for text in sources)
    specs = [parse_mixture(text, sorted(pools)) for text in mixtures]
    specs += random_specs(random_mixtures, pools)
    shared = chosen.for_plan()
    materials = read_materials(pools, [parse_evaluation(text) for text in evaluations])
    per_source = chosen.per_source
    if per_source is None and designing is not None:
        per_source = DESIGN_ROWS
    if per_source is not None:
        materials = materials.sampled(per_source, chosen.draw_seed)
    if designing is None:
        return Planned(make_plan(materials, specs, shared))
    columns = designing.columns or DESIGN_COLUMNS
    scores = _scores(materials, designing, list(columns), progress)
    rows = ScoredRows.of(materials.pools, scores.frame, columns)
    design = design_mixtures(rows, designing.n, chosen.size, chosen.draw_seed)
    return Planned(make_plan(materials, specs, shared, design.mixtures), design, scores)


def _scores(
    materials: Materials,
    designing: Designing,
    columns: Sequence[str],
    progress: Progress | None,
) -> ScoreTable:
    from instructmining.experiments.execute import score_rows
    from instructmining.scoring.table import ScoreTable

    wanted = list(dict.fromkeys([*columns, *designing.logged]))
    if designing.scores is not None:
        return _only(ScoreTable.load(Path(designing.scores)), wanted)
    engine = open_engine(Scoring(store=designing.store, progress=progress))
    return score_rows(materials.sources, materials.rows, engine, engine.models.indicators(wanted))


def prepare_experiment(
    plan: Path | str,
    log: Path | str,
    *,
    columns: Sequence[str] = SMALL.columns,
    together: int | None = None,
    scoring: Scoring | None = None,
) -> RunMaker:
    """Read a plan and score its mixtures; ``.run()`` does the rest.

    Parameters
    ----------
    plan, log : path
        The plan, and the run log that is written or gone on with.
    columns : sequence of str
        What the log shall hold of every mixture.
    together : int, optional
        Runs trained side by side; by default several on an accelerator, else one.
    scoring : Scoring, optional
        How mixtures are scored, and whether this process makes the runs or a cluster.

    Notes
    -----
    Nothing is scored where the plan's scores lie beside it with all these columns.
    """
    from instructmining.experiments.execute import base_model_files, score_mixtures
    from instructmining.experiments.plan import Plan
    from instructmining.experiments.runs import RunLog, remaining

    how = scoring or Scoring()
    drawn = Plan.load(Path(plan))
    opened = RunLog(Path(log))
    remaining(drawn, opened)  # a log of another plan is refused before anything is computed
    base_model_files(drawn)
    scores = _known_scores(Path(plan), columns)
    if scores is None:
        engine = open_engine(how)
        scores = score_mixtures(drawn, engine, engine.models.indicators(columns))
    return run_maker(drawn, opened, scores, how, together=together)


def run_maker(
    plan: Plan,
    log: RunLog,
    scores: ScoreTable,
    how: Scoring,
    answering: Answering | None = None,
    together: int | None = None,
) -> RunMaker:
    """Return who makes the runs of a plan: this process, or the cluster that `how` names.

    Parameters
    ----------
    plan, log, scores, answering, together
        As for `load_executor`.
    how : Scoring
        Its engine and workers count here.
    """
    if how.engine == "local":
        # A worker of a cluster may be another machine the next time, with another disk.
        unfinished = log.path.with_name(log.path.name + UNFINISHED)
        return load_executor(plan, log, scores, answering, together, unfinished)
    from instructmining.cluster import Resources
    from instructmining.experiments.ray import RayExecutor
    from instructmining.experiments.tuning.training import TOGETHER

    resources = Resources.share(how.workers)
    load = partial(load_executor, plan, scores=scores, answering=answering, together=together)
    at_once = together or (TOGETHER if resources.gpus else 1)
    return RayExecutor(plan, log, load, resources, at_once)


def load_executor(
    plan: Plan,
    log: Log,
    scores: ScoreTable,
    answering: Answering | None = None,
    together: int | None = None,
    unfinished: Path | None = None,
) -> Executor:
    """Load the base model of a plan, ready for its runs.

    Parameters
    ----------
    plan : Plan
        What to run.
    log : Log
        Where finished runs are appended.
    scores : ScoreTable
        Indicators of all rows of all mixtures.
    answering : Answering, optional
        Lets every tuned model answer prompts.
    together : int, optional
        Runs trained side by side; by default several on an accelerator, else one.
    unfinished : Path, optional
        Folder for what is known of runs under way, so that one that was stopped goes on.
    """
    from instructmining.evaluation.inference_loss import inference_loss
    from instructmining.experiments.execute import Executor, base_model_files
    from instructmining.experiments.tuning.finetune import Finetuner
    from instructmining.experiments.tuning.training import TrainingSetting
    from instructmining.models.remembered import RememberingTokenizer

    files = base_model_files(plan)
    tuner = Finetuner(files, TrainingSetting(**plan.setting.training), together, unfinished)
    # Training may cut long examples; what is measured must not depend on that.
    chat = RememberingTokenizer(files.folder)
    return Executor(
        plan,
        log,
        tuner,
        lambda model, examples: inference_loss(model, chat, examples, tuner.frozen).to_json(),
        scores,
        answering,
    )


def _known_scores(plan: Path, columns: Sequence[str]) -> ScoreTable | None:
    from instructmining.scoring.table import ScoreTable

    if not scores_beside(plan).exists():
        return None
    table = ScoreTable.load(scores_beside(plan))
    return _only(table, columns) if set(columns) <= set(table.columns) else None


def _only(table: ScoreTable, columns: Sequence[str]) -> ScoreTable:
    """Keep some columns, those the table has."""
    from instructmining.scoring.table import ScoreTable

    names = [name for name in table.columns if name in columns]
    frame = table.frame.select("row", "example", *names, "flags")
    return ScoreTable(frame, {name: table.definitions[name] for name in names}, table.recorded)
