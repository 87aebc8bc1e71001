"""Runs of another comparison that are runs of this one too.

A method added to a comparison, or more seeds, make another plan, and runs of two plans do not
mix. But where both train the same model in the same way on the same rows in the same order,
with the same seed, and measure the same examples, they are one run, made once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import AnswerLog
from instructmining.experiments.contest.answering import Answering
from instructmining.experiments.mixtures import Mixture
from instructmining.experiments.plan import Plan
from instructmining.experiments.runs import RunLog, remaining, run_id


def adopt(plan: Plan, log: RunLog, other: Path, answering: Answering | None = None) -> int:
    """Take over the runs of another plan that a plan still lacks; return how many.

    Parameters
    ----------
    plan : Plan
        The plan whose runs are wanted.
    log : RunLog
        Its log; runs taken over are added to it, and say as ``adopted_from`` whose they were.
    other : Path
        Folder with ``plan.json`` and ``runs.jsonl`` of another comparison or search.
    answering : Answering, optional
        What tuned models are asked here. Their answers are taken over with the runs, and runs
        without answers are not.

    Raises
    ------
    ExperimentError
        If there is no plan, or it trains another model, trains it otherwise, measures other
        examples, or its models answered other prompts.
    """
    theirs, runs = Plan.load(other / "plan.json"), RunLog(other / "runs.jsonl")
    for what, ours_is, theirs_is in _shared(plan, theirs):
        if ours_is != theirs_is:
            raise ExperimentError(
                f"{other}: its runs are of another {what} and cannot be taken over; leave it out"
            )
    theirs_said = [] if answering is None else answering.read(AnswerLog(other / "answers.jsonl"))
    answers = {one["run"]: one for one in theirs_said}
    names = {_trained_on(mixture): mixture.name for mixture in theirs.mixtures}
    made = {(run["mixture"], run["seed"]): run for run in runs.records()}
    taken = 0
    for wanted, seed in [(None, None), *remaining(plan, log)]:
        mixture = next((one for one in plan.mixtures if one.name == wanted), None)
        found = made.get((None if mixture is None else names.get(_trained_on(mixture)), seed))
        if found is None:
            continue
        name = found["run"] if mixture is None else run_id(mixture.name, found["seed"])
        if name in log.finished():
            continue
        ours = {"run": name, "mixture": wanted}
        if answering is not None and mixture is not None:
            if found["run"] not in answers:
                continue
            if name not in answering.log.finished():
                answering.log.append({**answers[found["run"]], **ours})
        log.append({**found, **ours, "plan": plan.hash, "adopted_from": theirs.hash})
        taken += 1
    return taken


def _shared(plan: Plan, other: Plan) -> list[tuple[str, Any, Any]]:
    """List what has to be the same, by name."""

    def measured(one: Plan) -> list[tuple[str, str, str]]:
        return [(each.name, each.part, each.content) for each in one.evaluations]

    def model(one: Plan) -> Any:
        return one.setting.base_model.get("weights") or one.setting.base_model

    return [
        ("base model", model(plan), model(other)),
        ("training", plan.setting.training, other.setting.training),
        ("set of evaluation files", measured(plan), measured(other)),
    ]


def _trained_on(mixture: Mixture) -> str:
    """Return all that decides the training on a mixture, given model, setting and seed."""
    known = mixture.to_json()
    order = [row[-1] for row in known["rows"]]
    return json.dumps([order, known.get("steps_per_epoch"), known.get("steps")])
