"""Find out how much of a ranked pool to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.api.experiments import ExperimentSetting, run_maker
from instructmining.api.pools import Sighting, look_at, rule_for, settle
from instructmining.api.scores import Scoring
from instructmining.errors import ExperimentError

if TYPE_CHECKING:
    from instructmining.experiments.execute import RunMaker
    from instructmining.experiments.runs import RunLog
    from instructmining.experiments.size.scope import Search
    from instructmining.experiments.size.sized import Found
    from instructmining.rules.rule import Rule
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.table import ScoreTable


@dataclass(frozen=True)
class SearchSetting:
    """How the size is searched for; settled before the losses are looked at.

    Parameters
    ----------
    by : str
        What ranks the pool: ``rule``, ``longest``, ``shortest``, ``ifd`` or ``ppl``; see
        `experiments.contest.choosing`.
    rule : Rule, str or path, optional
        The rule, where it ranks; its name or its file.
    smallest : int
        Smallest size, in rows.
    largest : int, float or str, optional
        Largest size, in rows or as a share of the pool; by default all that can be ranked.
    sizes, trials, seconds, tokens, steps, search_seed
        As `experiments.size.scope.Scope` has them.
    seeds : tuple of int
        Training seeds of every size, at least two.
    draw_seed : int
        With the training seed it decides which rows the random curve takes.
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
    """

    by: str = "rule"
    rule: Rule | str | Path | None = None
    smallest: int = 32
    largest: str | float | None = None
    sizes: int = 6
    trials: int = 12
    seconds: float | None = None
    tokens: int | None = None
    steps: int | None = None
    search_seed: int = 0
    seeds: tuple[int, ...] = (0, 1)
    draw_seed: int = 0
    base_model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: ScoreTable | str | Path | None = None
    allow_mismatch: bool = False
    scoring: Scoring | None = None

    def __post_init__(self) -> None:
        """Refuse seeds from which no noise can be told, and rankings that are none.

        Raises
        ------
        ExperimentError
            If there are fewer than two seeds, one comes twice, or `by` ranks nothing.
        """
        from instructmining.experiments.specs import UNRANKED

        if len({*self.seeds}) < max(len(self.seeds), 2):
            raise ExperimentError(
                f"seeds {list(self.seeds)} came; a size is tried with two or more, each once, or "
                "its noise is not known"
            )
        if self.by in UNRANKED:
            raise ExperimentError(
                f"by {self.by!r} came, which ranks nothing; give rule, longest, shortest, ifd or "
                "ppl (random rows are measured beside it)"
            )


@dataclass(frozen=True)
class PreparedSearch:
    """A search whose pool is ranked and whose runs may be made.

    Parameters
    ----------
    search : Search
        What is tried.
    folder : Path
        Holds ``plan.json``, ``runs.jsonl`` and, once all runs are made, ``search.json``.
    scores : ScoreTable
        Of the pool, for the run log.
    said : tuple of str
        Where the rule does not fit the columns.
    scoring : Scoring
        Its engine and workers say who makes the runs.
    """

    search: Search
    folder: Path
    scores: ScoreTable
    said: tuple[str, ...] = ()
    scoring: Scoring = field(default_factory=Scoring)

    @property
    def log(self) -> RunLog:
        """The run log."""
        from instructmining.experiments.runs import RunLog

        return RunLog(self.folder / "runs.jsonl")

    def run(self, progress: Progress | None = None, limit: int | None = None) -> Found | None:
        """Make the runs the search still lacks and, when none is left, say what was found.

        Parameters
        ----------
        progress : Progress, optional
            Told about every run.
        limit : int, optional
            Stop after so many runs.

        Returns
        -------
        Found or None
            None while runs are left.
        """
        from instructmining.experiments.size.searching import carry_out
        from instructmining.experiments.size.sized import conclude

        log = self.log

        def maker() -> RunMaker:
            return run_maker(self.search.plan, log, self.scores, self.scoring)

        if not carry_out(self.search, log, maker, progress, limit):
            return None
        found = conclude(self.search, log.records())
        if found is not None:
            found.save(self.folder / "search.json")
        return found


def search(
    pool: str,
    evaluations: Sequence[str],
    output: Path | str,
    *,
    setting: SearchSetting | None = None,
    progress: Progress | None = None,
) -> Found:
    """Find the size of a ranked pool that tunes best.

    Sizes are tried by a sweep and by BlendSearch; the base model is tuned on the best so many
    rows with several seeds. Evaluation files are split by prompt: sizes are chosen on the fit
    part, and what the chosen size is worth is measured on the report part.

    Parameters
    ----------
    pool : str
        ``PATH`` or ``NAME=PATH``.
    evaluations : sequence of str
        ``NAME=PATH`` each. Rows that overlap any of them are not ranked.
    output : path
        Folder of plan, run log and result; a search begun there is gone on with.
    setting : SearchSetting, optional
        Ranking, bounds, budget, seeds, base model, training.
    progress : Progress, optional
        Told about scoring and runs.

    Raises
    ------
    ExperimentError
        If the bounds leave no choice, the pool has too few rows, or the folder holds another
        search.
    InputError
        If the pool or an evaluation file cannot be read.
    """
    found = prepare_search(pool, evaluations, output, setting=setting, progress=progress).run(
        progress
    )
    if found is None:
        raise ExperimentError(f"{output}: runs of the search are missing; run it again")
    return found


def prepare_search(
    pool: str,
    evaluations: Sequence[str],
    output: Path | str,
    *,
    setting: SearchSetting | None = None,
    progress: Progress | None = None,
) -> PreparedSearch:
    """Rank the pool and write the plan; ``.run()`` does the rest.

    Parameters
    ----------
    pool, evaluations, output, setting, progress
        As for `search`; nothing is trained.
    """
    from instructmining.experiments.contest.choosing import preference
    from instructmining.experiments.planning import read_materials
    from instructmining.experiments.size.scope import Scope, make_search
    from instructmining.experiments.specs import parse_method, parse_source
    from instructmining.selection.budget import parse_keep, resolve

    chosen = setting or SearchSetting()
    specs = [parse_method(chosen.by)]
    rule = rule_for(specs, chosen.rule)
    sets = [one for text in evaluations for one in _parts(text)]
    shared = ExperimentSetting(
        chosen.base_model, chosen.training, seeds=chosen.seeds, draw_seed=chosen.draw_seed
    ).for_plan()
    materials = read_materials(dict([parse_source(pool)]), sets)
    n_rows = materials.sources[0].n_rows
    largest = None if chosen.largest is None else resolve(parse_keep(chosen.largest), n_rows)
    how = Sighting(rule, chosen.scores, chosen.allow_mismatch, chosen.scoring)
    seen = look_at(materials, specs, shared, how, progress)
    if largest is None:
        name = specs[0].name
        largest = len(preference(name, seen.candidates, chosen.seeds[0], chosen.draw_seed))
    limits = (chosen.trials, chosen.seconds, chosen.tokens, chosen.steps, chosen.search_seed)
    scope = Scope(chosen.smallest, largest, chosen.sizes, *limits)
    shared = replace(shared, size=largest)
    made = make_search(seen.materials, seen.candidates, specs[0].name, scope, shared)
    settle(made.plan, Path(output), "search")
    scoring = chosen.scoring or Scoring()
    return PreparedSearch(made, Path(output), seen.scores, tuple(seen.notes), scoring)


def _parts(text: str) -> list[tuple[str, str, str]]:
    """Split an evaluation file into what is searched on and what is kept back."""
    from instructmining.experiments.size.scope import REPORTED, SEARCHED
    from instructmining.experiments.specs import parse_evaluation
    from instructmining.experiments.splits import ALL

    name, path, part = parse_evaluation(text)
    if part != ALL:
        raise ExperimentError(
            f"evaluation {text!r}: a size is searched for on the {SEARCHED} part of a file and "
            f"reported on its {REPORTED} part; name the file without #{part}"
        )
    return [(f"{name}-{one}", path, one) for one in (SEARCHED, REPORTED)]
