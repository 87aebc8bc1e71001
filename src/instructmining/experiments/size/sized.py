"""What came of a search for the size: curves, the best size, and what it is worth elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instructmining.evaluation.comparison import Comparison, compare
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.losses import EvaluationLosses, evaluation_losses
from instructmining.evaluation.sizes import SizeCurve, size_curve
from instructmining.experiments.outcome import plain, save_sealed
from instructmining.experiments.size.scope import (
    EPOCHS,
    REPORTED,
    SEARCHED,
    Curve,
    Search,
    Trial,
)
from instructmining.experiments.size.searching import Record, Results, trials

#: Version of the layout of ``search.json``.
SCHEMA = 1


@dataclass(frozen=True)
class Found:
    """What came of a search.

    Parameters
    ----------
    search : Search
        What was tried.
    tried : tuple of Trial
        In the order it was.
    curves : mapping of str to SizeCurve
        On the part searched on.
    reported : mapping of str to SizeCurve
        The same runs on the part kept back; its best size is not what was chosen.
    comparison : Comparison
        The best size against other choices, on the part kept back.
    seconds : float
        Time of all runs.
    """

    search: Search
    tried: tuple[Trial, ...]
    curves: Mapping[Curve, SizeCurve]
    reported: Mapping[Curve, SizeCurve]
    comparison: Comparison
    seconds: float

    @property
    def best(self) -> int:
        """Size of the lowest loss at the setting's epochs, on the part searched on."""
        return self.curves[EPOCHS].best

    @property
    def frugal(self) -> int:
        """Smallest size whose loss is within one standard error of the best one's."""
        return self.curves[EPOCHS].frugal

    @property
    def proposed(self) -> tuple[int, ...]:
        """Sizes BlendSearch tried, in order."""
        return tuple(trial.size for trial in self.tried if trial.proposer == "search")

    def best_of(self, proposer: str) -> int | None:
        """Best of the sizes the sweep (``"sweep"``) or BlendSearch (``"search"``) tried."""
        sizes = {trial.size for trial in self.tried if trial.proposer == proposer}
        points = [point for point in self.curves[EPOCHS].points if point.size in sizes]
        return min(points, key=lambda point: point.loss).size if points else None

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        curve = self.curves[EPOCHS]
        loss = next(point.loss for point in curve.points if point.size == curve.best)
        said = (
            f"of {curve.points[0].size:,} to {curve.largest:,} rows, {curve.best:,} lose least on "
            f"the prompts searched on ({100 * loss:.1f} % of the untuned model's loss)"
        )
        if curve.frugal < curve.best:
            said += f", and {curve.frugal:,} are within one standard error of it"
        return f"{said}; on the prompts kept back, {self.comparison.verdict}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, one sentence each."""
        curve = self.curves[EPOCHS]
        return (*_of_shape(curve), *_of_choice(self, curve), *self.comparison.notes)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; what is not known is None."""
        plan = self.search.plan
        return plain(
            {
                "schema": SCHEMA,
                "verdict": self.verdict,
                "best": self.best,
                "frugal": self.frugal,
                "best_of_sweep": self.best_of("sweep"),
                "best_of_search": self.best_of("search"),
                "plan": plan.hash,
                "by": self.search.by,
                "base_model": dict(plan.setting.base_model),
                "training": dict(plan.setting.training),
                "seeds": plan.setting.seeds,
                "pool": asdict(plan.sources[0]),
                "evaluations": [asdict(wanted) for wanted in plan.evaluations],
                "scope": {**asdict(self.search.scope), "steps": self.search.steps},
                "tried": [
                    {**asdict(trial), "tokens": self.search.n_tokens(trial)} for trial in self.tried
                ],
                "curves": {
                    part: {name: asdict(curve) for name, curve in curves.items()}
                    for part, curves in ((SEARCHED, self.curves), (REPORTED, self.reported))
                },
                "comparison": self.comparison.to_json(),
                "seconds": self.seconds,
                "notes": self.notes,
            }
        )

    def save(self, path: Path) -> None:
        """Write it as sealed JSON; an existing file is replaced only by a whole one."""
        save_sealed(self.to_json(), path)


def conclude(search: Search, records: Sequence[Record], terms: Terms | None = None) -> Found | None:
    """Read a search off its finished runs; None where some are missing.

    Parameters
    ----------
    search : Search
        What was tried.
    records : sequence of mapping
        All lines of its run log.
    terms : Terms, optional
        Level of intervals, margin, tie width.
    """
    terms = terms or Terms()
    results = Results(search, records)
    tried = []
    for trial in trials(search, results):
        if results.missing(trial):
            return None
        tried.append(trial)
    curves = {part: _curves(tried, results, part, terms) for part in (SEARCHED, REPORTED)}
    best = curves[SEARCHED][EPOCHS]
    return Found(
        search,
        tuple(tried),
        curves[SEARCHED],
        curves[REPORTED],
        _compare(search, results, best, terms),
        sum(sum(record["seconds"].values()) for record in records),
    )


def _curves(
    tried: Sequence[Trial], results: Results, part: str, terms: Terms
) -> dict[Curve, SizeCurve]:
    untuned = results.untuned(part)
    names: dict[Curve, None] = {trial.curve: None for trial in tried}
    return {
        name: size_curve(
            {trial.size: results.losses(trial, part) for trial in tried if trial.curve == name},
            untuned,
            terms,
        )
        for name in names
    }


def _compare(search: Search, results: Results, curve: SizeCurve, terms: Terms) -> Comparison:
    """Hold the best size against random rows, fewer rows and all of them, where it kept back."""
    best = f"first-{curve.best}"
    others = {f"random-{curve.best}": Trial("random", curve.best, "comparison")}
    others |= {
        f"first-{size}": Trial(EPOCHS, size, "sweep")
        for size in (curve.frugal, curve.largest)
        if size != curve.best
    }
    methods = {best: Trial(EPOCHS, curve.best, "sweep"), **others}
    sets = [one.name for one in search.plan.evaluations if one.part == REPORTED]
    return compare(
        [_losses(search, results, name, methods) for name in sets], reference=best, terms=terms
    )


def _losses(
    search: Search, results: Results, evaluation: str, methods: Mapping[str, Trial]
) -> EvaluationLosses:
    tables = {name: results.tables(trial, evaluation) for name, trial in methods.items()}
    tokens = next(iter(tables.values()))[1]
    return evaluation_losses(
        evaluation,
        {name: nll for name, (nll, _) in tables.items()},
        tokens,
        dict.fromkeys(methods, search.seeds),
    )


def _of_shape(curve: SizeCurve) -> list[str]:
    found = []
    if curve.best == curve.points[0].size:
        found.append(
            f"the best size, {curve.best:,}, is the smallest that was tried: fewer rows may be "
            "better still; lower --smallest"
        )
    if curve.best == curve.largest:
        found.append(
            f"the best size, {curve.best:,}, is the largest that was tried: the loss has not "
            "turned; raise --largest where the pool has more"
        )
    if curve.bump is not None:
        bump = curve.bump
        found.append(
            f"the loss rises by {100 * bump.rise:.1f} % from {bump.before:,} to {bump.top:,} rows "
            f"and falls by {100 * bump.fall:.1f} % to {bump.after:,}: the shape called double "
            "descent is seen"
        )
    elif curve.points[0].n_seeds > 1:
        found.append(
            "no rise of the loss that is followed by a fall can be told from chance: the shape "
            "called double descent is not seen"
        )
    return found


def _of_choice(found: Found, curve: SizeCurve) -> list[str]:
    notes = []
    swept, searched = found.best_of("sweep"), found.best_of("search")
    if searched is not None and swept is not None:
        losses = {point.size: point.loss for point in curve.points}
        gain = 100 * (losses[searched] / losses[swept] - 1)
        notes.append(
            f"the best of the sweep's {len(found.search.scope.sweep)} sizes is {swept:,}, of "
            f"BlendSearch's {len(found.proposed)} {searched:,} (loss {gain:+.2f} %)"
        )
    if curve.best_by_example != curve.best:
        notes.append(
            f"with every example alike the best size is {curve.best_by_example:,}: which is best "
            "hangs on the weighting"
        )
    elsewhere = found.reported[EPOCHS].best
    if elsewhere != curve.best:
        notes.append(f"on the prompts kept back the lowest loss is at {elsewhere:,} rows")
    n_seeds = curve.points[0].n_seeds
    if n_seeds < 3:
        notes.append(
            f"{n_seeds} training seed{'s' if n_seeds > 1 else ''} a size: intervals are "
            f"{'wide' if n_seeds > 1 else 'not known'}; more seeds (--seeds) tell more"
        )
    return notes
