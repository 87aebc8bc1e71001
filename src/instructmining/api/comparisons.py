"""Compare ways of choosing data by what models tuned on their choices lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from instructmining.api.experiments import ExperimentSetting, run_maker
from instructmining.api.pools import Sighting, look_at, rule_for, settle
from instructmining.api.scores import Scoring
from instructmining.errors import ExperimentError

if TYPE_CHECKING:
    from instructmining.evaluation.conclusions import Terms
    from instructmining.experiments.contest.answering import Answering
    from instructmining.experiments.contest.comparing import Compared, Contest
    from instructmining.experiments.plan import Setting
    from instructmining.experiments.runs import RunLog
    from instructmining.rules.rule import Rule
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.table import ScoreTable
    from instructmining.shard import Shard

#: What is compared where no methods are named.
METHODS = ("rule", "random", "longest", "shortest", "ifd", "ppl", "all")


@dataclass(frozen=True)
class ComparisonSetting:
    """How methods are compared; settled before the losses are looked at.

    Parameters
    ----------
    rule : Rule, str or path, optional
        The rule of the method ``rule``, its name or its file.
    budget : {"tokens", "rows"}
        What is equal for all methods: loss-bearing response tokens and optimiser steps, or
        rows; see `experiments.contest.choosing`.
    reference : str, optional
        Method the budget is taken from and the others are held against; by default the rule,
        else the first that is neither ``random`` nor ``all``.
    seeds : tuple of int
        Training seeds, the same for all methods.
    all_seeds : int
        How many of them ``all`` is trained with, the first.
    draw_seed : int
        With the training seed it decides what ``random`` takes.
    base_model : str or None
        Model to tune; None for the small default.
    training : dict
        Fields of `experiments.tuning.training.TrainingSetting` that differ from their defaults.
    scores : ScoreTable or path, optional
        Scores of the pool; by default it is scored here, as `scoring` says.
    allow_mismatch : bool
        Apply the rule to columns defined otherwise, and say so in every output.
    scoring : Scoring, optional
        How to score.
    answer : str, optional
        File of prompts every tuned model answers, for a judge (`judge`); references are not
        needed. Rows that overlap them are taken by no method.
    max_new_tokens : int
        Longest answer.
    margin, tie : float
        Relative difference of the loss that does not matter, and losses on a prompt closer than
        which are a tie, in nats per token; see `evaluation.conclusions.Terms`.
    adopt : path, optional
        Folder of another comparison; its runs of the same rows, seed and setting are taken over,
        as when a method or seeds are added to it, with their answers where models answer.
    """

    rule: Rule | str | Path | None = None
    budget: Literal["tokens", "rows"] = "tokens"
    reference: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    all_seeds: int = 2
    draw_seed: int = 0
    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: ScoreTable | str | Path | None = None
    allow_mismatch: bool = False
    scoring: Scoring | None = None
    answer: str | None = None
    max_new_tokens: int = 256
    margin: float = 0.005
    tie: float = 0.01
    adopt: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse seeds that are none.

        Raises
        ------
        ExperimentError
            If there are no seeds, one comes twice, or ``all`` has none.
        """
        if not self.seeds or len({*self.seeds}) < len(self.seeds) or self.all_seeds < 1:
            raise ExperimentError(
                f"seeds {list(self.seeds)} and {self.all_seeds} of them for all came; give at "
                "least one of either, each once"
            )


@dataclass(frozen=True)
class PreparedComparison:
    """A comparison whose choices are made and whose runs may be.

    Parameters
    ----------
    contest : Contest
        What is compared; ``contest.costs()`` says what it will cost.
    folder : Path
        Holds ``plan.json``, ``runs.jsonl`` and, once all runs are made, ``comparison.json``.
    scores : ScoreTable
        Of the pool, for the run log.
    answering : Answering or None
        Lets the tuned models answer prompts, kept in ``answers.jsonl``.
    terms : Terms or None
        On what terms methods are compared; None for the usual ones.
    scoring : Scoring
        Its engine and workers say who makes the runs.
    """

    contest: Contest
    folder: Path
    scores: ScoreTable
    answering: Answering | None = None
    terms: Terms | None = None
    scoring: Scoring = field(default_factory=Scoring)

    @property
    def log(self) -> RunLog:
        """The run log."""
        from instructmining.experiments.runs import RunLog

        return RunLog(self.folder / "runs.jsonl")

    @property
    def left(self) -> list[tuple[str, int]]:
        """Runs that are not in the log, as (mixture, seed)."""
        from instructmining.experiments.runs import remaining

        return remaining(self.contest.plan, self.log)

    def run(
        self,
        progress: Progress | None = None,
        limit: int | None = None,
        shard: Shard | None = None,
    ) -> Compared | None:
        """Make the runs the log lacks and, when none is left, compare.

        Parameters
        ----------
        progress : Progress, optional
            Told about every run.
        limit : int, optional
            Stop after so many runs.
        shard : Shard, optional
            Make only these; several processes may share the folder.

        Returns
        -------
        Compared or None
            None while runs are left, by the limit or to other shards.
        """
        from instructmining.experiments.contest.comparing import judge
        from instructmining.experiments.runs import remaining
        from instructmining.shard import WHOLE

        part = shard or WHOLE
        if remaining(self.contest.plan, self.log, part)[:limit]:
            contest, log = self.contest, self.log
            maker = run_maker(contest.plan, log, self.scores, self.scoring, self.answering)
            maker.run(progress, limit, part)
        if self.left:
            return None
        compared = judge(self.contest, self.log.records(), self.terms)
        compared.save(self.folder / "comparison.json")
        return compared


def compare(
    pool: str,
    evaluations: Sequence[str],
    output: Path | str,
    *,
    keep: str | float,
    methods: Sequence[str] = METHODS,
    setting: ComparisonSetting | None = None,
    progress: Progress | None = None,
) -> Compared:
    """Compare ways of choosing data by what models tuned on their choices lose.

    Every method takes rows of the pool, under one budget; the base model is tuned on them
    with several seeds and measured on the evaluation sets.

    Parameters
    ----------
    pool : str
        ``PATH`` or ``NAME=PATH``.
    evaluations : sequence of str
        ``NAME=PATH`` or ``NAME=PATH#PART`` each. Rows that overlap any of them are taken by
        no method.
    output : path
        Folder of plan, run log and result; a comparison begun there is gone on with.
    keep : int, float or str
        Rows the reference takes (int, ``"1000"``), or a share of the pool (``"5%"``).
    methods : sequence of str
        Names of `experiments.specs.SELECTORS`, or ``NAME=DECISIONS.parquet``.
    setting : ComparisonSetting, optional
        Rule, budget, seeds, base model, training.
    progress : Progress, optional
        Told about scoring and runs.

    Returns
    -------
    Compared
        Losses, contrasts and a verdict; also in ``comparison.json``.

    Raises
    ------
    ExperimentError
        If a method is unknown, has too few rows for the budget or lacks its rule, or the
        folder holds another comparison.
    InputError
        If the pool or an evaluation file cannot be read.
    """
    prepared = prepare_comparison(
        pool, evaluations, output, keep=keep, methods=methods, setting=setting, progress=progress
    )
    compared = prepared.run(progress)
    if compared is None:
        raise ExperimentError(f"{output}: another process is at this comparison; let it finish")
    return compared


def prepare_comparison(
    pool: str,
    evaluations: Sequence[str],
    output: Path | str,
    *,
    keep: str | float,
    methods: Sequence[str] = METHODS,
    setting: ComparisonSetting | None = None,
    progress: Progress | None = None,
) -> PreparedComparison:
    """Let every method choose, and write the plan; ``.run()`` does the rest.

    Parameters
    ----------
    pool, evaluations, output, keep, methods, setting, progress
        As for `compare`; nothing is trained.
    """
    from instructmining.evaluation.conclusions import Terms
    from instructmining.experiments.contest.adopting import adopt
    from instructmining.experiments.contest.choosing import Ration, choose, reference_of
    from instructmining.experiments.contest.comparing import check_keep, make_contest
    from instructmining.experiments.planning import read_materials
    from instructmining.experiments.specs import parse_evaluation, parse_methods, parse_source
    from instructmining.experiments.tuning.training import TrainingSetting
    from instructmining.selection.budget import parse_keep, resolve

    specs = parse_methods(methods)
    chosen = setting or ComparisonSetting()
    rule = rule_for(specs, chosen.rule)
    reference = reference_of(specs, chosen.reference)
    asked = parse_keep(keep)
    shared = ExperimentSetting(chosen.base_model, chosen.training, seeds=chosen.seeds).for_plan()
    sets = [parse_evaluation(text) for text in evaluations]
    terms = Terms(margin=chosen.margin, tie=chosen.tie)
    answering = _answering(chosen, shared, Path(output))
    asked_of_models = answering.prompts.examples if answering else ()
    materials = read_materials(dict([parse_source(pool)]), sets, prompts=asked_of_models)
    (source,) = materials.sources
    ration = Ration(
        resolve(asked, source.n_rows),
        reference,
        chosen.budget,
        TrainingSetting(**shared.training).batch_size,
        chosen.seeds,
        chosen.all_seeds,
        chosen.draw_seed,
    )
    check_keep(ration.keep, materials)
    how = Sighting(rule, chosen.scores, chosen.allow_mismatch, chosen.scoring)
    seen = look_at(materials, specs, shared, how, progress)
    choices = choose(specs, seen.candidates, ration)
    planned = replace(shared, size=ration.keep, draw_seed=chosen.draw_seed)
    contest = make_contest(seen.materials, seen.candidates, choices, ration, planned)
    contest = replace(contest, notes=(*seen.notes, *contest.notes))
    settle(contest.plan, Path(output), "comparison")
    scoring = chosen.scoring or Scoring()
    prepared = PreparedComparison(contest, Path(output), seen.scores, answering, terms, scoring)
    if chosen.adopt is not None:
        adopt(contest.plan, prepared.log, Path(chosen.adopt), answering)
    return prepared


def _answering(chosen: ComparisonSetting, shared: Setting, folder: Path) -> Answering | None:
    """Make ready what tuned models are asked; None where they are asked nothing."""
    from instructmining.evaluation.answers import AnswerLog, Writing
    from instructmining.experiments.contest.answering import Answering, Prompts
    from instructmining.models.chat import ChatTokenizer
    from instructmining.models.sources import resolve

    if chosen.answer is None:
        return None
    chat = ChatTokenizer(resolve(shared.base_model["name"]).folder)
    how = Writing(chosen.max_new_tokens)
    made = Answering(AnswerLog(folder / "answers.jsonl"), Prompts.read(chosen.answer), chat, how)
    made.check()
    return made
