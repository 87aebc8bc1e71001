"""A comparison of ways of choosing data: settled before a run is made, judged after the last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.evaluation.comparison import Comparison, compare
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.losses import EvaluationLosses, evaluation_losses
from instructmining.examples import Example
from instructmining.experiments.contest.choosing import ALL, TARGET, Candidates, Choice, Ration
from instructmining.experiments.outcome import plain, save_sealed
from instructmining.experiments.outlook import Outlook
from instructmining.experiments.plan import Plan, Setting, rows_of_sources
from instructmining.experiments.planning import Materials

#: Version of the layout of ``comparison.json``.
SCHEMA = 1
#: Why a row is left out whose turns the base model's chat template refuses.
REFUSED = "refused_by_template"

#: A line of a run log.
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a method costs.

    Parameters
    ----------
    method : str
        Which.
    n_runs : int
        Runs, one for every seed.
    n_open : int
        Rows the method could have taken.
    rows, tokens : tuple of int
        Fewest and most over its seeds: rows, and loss-bearing response tokens of an epoch.
    steps : int
        Optimiser steps of a run.
    seconds : float or None
        Median time of training a run; None before there is one.
    """

    method: str
    n_runs: int
    n_open: int
    rows: tuple[int, int]
    tokens: tuple[int, int]
    steps: int
    seconds: float | None = None


@dataclass(frozen=True)
class Contest:
    """What is compared, settled before anything is trained.

    Parameters
    ----------
    plan : Plan
        Every run.
    choices : tuple of Choice
        What each method took.
    ration : Ration
        What each was given.
    n_usable : int
        Rows of the pool any method could have taken, if its values are defined there.
    notes : tuple of str
        What a reader must know of the choices, one sentence each.
    """

    plan: Plan
    choices: tuple[Choice, ...]
    ration: Ration
    n_usable: int
    notes: tuple[str, ...] = ()

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in order."""
        return tuple(dict.fromkeys(choice.method for choice in self.choices))

    @property
    def budget(self) -> dict[str, Any]:
        """What is equal for every method but ``all``, as plain data."""
        reference = next(c for c in self.choices if c.method == self.ration.reference)
        return {
            "equal": self.ration.kind,
            "reference": self.ration.reference,
            "rows": self.ration.keep,
            "tokens": reference.n_tokens,
            "steps": self._n_steps(reference),
        }

    def seeds(self, choice: Choice) -> tuple[int, ...]:
        """Training seeds of a choice."""
        return choice.mixture.seeds or self.plan.setting.seeds

    def costs(self, records: Iterable[Record] = ()) -> tuple[Cost, ...]:
        """Say what every method costs, with the time of the runs that were made."""
        seconds: dict[str, list[float]] = {}
        for record in records:
            seconds.setdefault(record["mixture"], []).append(record["seconds"]["train"])
        found = []
        for method in self.methods:
            own = [choice for choice in self.choices if choice.method == method]
            rows = [len(choice.mixture.rows) for choice in own]
            tokens = [choice.n_tokens for choice in own]
            spent = [s for choice in own for s in seconds.get(choice.mixture.name, ())]
            found.append(
                Cost(
                    method,
                    sum(len(self.seeds(choice)) for choice in own),
                    own[0].n_open,
                    (min(rows), max(rows)),
                    (min(tokens), max(tokens)),
                    self._n_steps(own[0]),
                    float(np.median(spent)) if spent else None,
                )
            )
        return tuple(found)

    def seconds(self, runs: Iterable[tuple[str, int]], expected: Outlook) -> float:
        """Expect the time of some of the plan's runs, one after another."""
        rows = {mixture.name: len(mixture.rows) for mixture in self.plan.mixtures}
        return sum(expected.of_rows(rows[mixture], self._epochs) for mixture, _ in runs)

    @property
    def _epochs(self) -> int:
        return int(self.plan.setting.training.get("epochs", 1))

    def _n_steps(self, choice: Choice) -> int:
        return choice.steps * self._epochs


@dataclass(frozen=True)
class Compared:
    """What came of a comparison.

    Parameters
    ----------
    contest : Contest
        What was compared.
    comparison : Comparison
        Losses, contrasts and the verdict.
    costs : tuple of Cost
        What each method cost.
    untuned : mapping of str to mapping
        Evaluation set to the loss of the base model before tuning: ``token_mean`` and
        ``example_mean``.
    """

    contest: Contest
    comparison: Comparison
    costs: tuple[Cost, ...]
    untuned: Mapping[str, Mapping[str, float]]

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits the conclusions, and what a reader must know of the choices."""
        return (*self.comparison.notes, *self.contest.notes)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; what is not known is None."""
        plan = self.contest.plan
        return plain(
            {
                "schema": SCHEMA,
                "verdict": self.comparison.verdict,
                "plan": plan.hash,
                "base_model": dict(plan.setting.base_model),
                "training": dict(plan.setting.training),
                "seeds": plan.setting.seeds,
                "pool": {**asdict(plan.sources[0]), "n_usable": self.contest.n_usable},
                "evaluations": [asdict(wanted) for wanted in plan.evaluations],
                "budget": self.contest.budget,
                "methods": [asdict(cost) for cost in self.costs],
                "untuned": self.untuned,
                "comparison": self.comparison.to_json(),
                "notes": self.notes,
            }
        )

    def save(self, path: Path) -> None:
        """Write it as sealed JSON; an existing file is replaced only by a whole one."""
        save_sealed(self.to_json(), path)


def check_keep(keep: int, materials: Materials) -> None:
    """Refuse to take more rows than can be used of a pool, before it is scored.

    Raises
    ------
    ExperimentError
        If there are fewer; it says why.
    """
    (source,) = materials.sources
    n_usable = len(materials.pools[source.name].rows)
    if keep > n_usable:
        left_out = ", ".join(f"{reason} {n:,}" for reason, n in source.excluded.items())
        raise ExperimentError(
            f"keep {keep:,} rows came, {n_usable:,} of the pool's {source.n_rows:,} can be used "
            f"(left out: {left_out or 'none'}); lower --keep"
        )


def read_candidates(
    materials: Materials,
    count: Callable[[Sequence[Example]], Sequence[int]],
    values: Mapping[str, np.ndarray],
    listed: Mapping[str, Sequence[int]],
) -> tuple[Candidates, Materials]:
    """Put together what methods may take, and count what none may.

    Parameters
    ----------
    materials : Materials
        Of one pool.
    count : callable
        Counts the loss-bearing tokens of examples; 0 for one that cannot be trained on.
    values : mapping of str to ndarray of shape (n_rows,)
        What methods go by, for every row of the pool.
    listed : mapping of str to sequence of int
        As `Candidates.listed`.

    Returns
    -------
    Candidates, Materials
        The rows, and the materials with those left out that cannot be trained on.
    """
    planned = list(materials.rows)
    examples = rows_of_sources(materials.sources, planned)
    tokens = np.asarray(count([examples[row] for row in planned]), dtype=np.int64)
    kept = np.flatnonzero(tokens > 0)
    rows = tuple(planned[i] for i in kept)
    positions = [row.row for row in rows]
    values = {name: np.asarray(column, np.float64)[positions] for name, column in values.items()}
    (source,) = materials.sources
    if len(rows) < len(planned):
        excluded = {**source.excluded, REFUSED: len(planned) - len(rows)}
        source = replace(source, excluded=excluded)
    return Candidates(rows, tokens[kept], values, listed), replace(materials, sources=(source,))


def make_contest(
    materials: Materials,
    candidates: Candidates,
    choices: Sequence[Choice],
    ration: Ration,
    setting: Setting,
) -> Contest:
    """Write down what is compared and every run it takes.

    Methods are the plan's mixtures. ``random`` is one mixture for each seed; every other
    method is one mixture for all of its seeds.

    Raises
    ------
    ExperimentError
        If an evaluation set holds a single prompt, over which nothing can be averaged.
    """
    for wanted in materials.evaluations:
        if wanted.n < 2:
            raise ExperimentError(
                f"evaluation set {wanted.name}: {wanted.path} has one prompt with a reference in "
                f"part {wanted.part!r}; a comparison wants two or more"
            )
    mixtures = tuple(choice.mixture for choice in choices)
    plan = Plan(materials.sources, materials.evaluations, setting, mixtures)
    n_usable = len(candidates.rows)
    notes = _notes(choices, ration, n_usable)
    return Contest(plan, tuple(choices), ration, n_usable, tuple(notes))


def paired_losses(contest: Contest, records: Iterable[Record]) -> list[EvaluationLosses]:
    """Join the runs of a log to losses by evaluation set, method and training seed.

    Parameters
    ----------
    contest : Contest
        Whose runs.
    records : iterable of mapping
        Lines of its run log; all runs must be there.

    Raises
    ------
    ExperimentError
        If a run is missing, or the runs were not measured on the same prompts.
    """
    runs = {(record["mixture"], record["seed"]): record["losses"] for record in records}
    missing = [run for run in contest.plan.runs if run not in runs]
    if missing:
        mixture, seed = missing[0]
        raise ExperimentError(
            f"{len(missing)} of {len(contest.plan.runs)} runs are not in the log (first: "
            f"{mixture} with seed {seed}); make them first"
        )
    found = []
    for name in (wanted.name for wanted in contest.plan.evaluations):
        tables: dict[str, dict[int, list[float]]] = {method: {} for method in contest.methods}
        counts = set()
        for choice in contest.choices:
            for seed in contest.seeds(choice):
                pairs = runs[choice.mixture.name, seed][name]["per_example"]
                tables[choice.method][seed] = [nll for nll, _ in pairs]
                counts.add(tuple(n for _, n in pairs))
        if len(counts) > 1:
            raise ExperimentError(
                f"evaluation set {name}: runs of one log were measured on different prompts; "
                "delete the log to make them again"
            )
        losses = {method: list(table.values()) for method, table in tables.items()}
        seeds = {method: list(table) for method, table in tables.items()}
        found.append(evaluation_losses(name, losses, counts.pop(), seeds))
    return found


def judge(contest: Contest, records: Sequence[Record], terms: Terms | None = None) -> Compared:
    """Compare the methods from the finished runs.

    Parameters
    ----------
    contest : Contest
        What was to be compared.
    records : sequence of mapping
        All lines of its run log.
    terms : Terms, optional
        Margin, level, tie width.
    """
    tuned = [record for record in records if record["mixture"] is not None]
    comparison = compare(
        paired_losses(contest, tuned), reference=contest.ration.reference, terms=terms
    )
    untuned = {
        name: {key: loss[key] for key in ("token_mean", "example_mean")}
        for record in records
        if record["mixture"] is None
        for name, loss in record["losses"].items()
    }
    return Compared(contest, comparison, contest.costs(tuned), untuned)


def _notes(choices: Sequence[Choice], ration: Ration, n_usable: int) -> list[str]:
    found = []
    for choice in {choice.method: choice for choice in choices}.values():
        if choice.method == TARGET:
            found.append(
                f"target takes rows of the evaluation files ({choice.n_open:,}, none of them "
                "measured), not of the pool: what it gains is about what a choice could"
            )
        elif choice.n_open < n_usable:
            found.append(
                f"{choice.method} could take {choice.n_open:,} of {n_usable:,} usable rows; for "
                "the others it has no value, or one it never takes"
            )
        if choice.method == ALL:
            first = next(c for c in choices if c.method == ration.reference)
            found.append(
                f"all is exempt from the budget: {choice.n_tokens / first.n_tokens:.1f} times its "
                "response tokens"
            )
    wanted = -(-ration.keep // ration.batch_size)
    steps = min(choice.steps for choice in choices if choice.method != ALL)
    if steps < wanted:
        found.append(
            f"{steps} steps an epoch instead of {wanted}: a step takes at least one row, and a "
            f"method has only {steps}"
        )
    return found
