"""A plan, and what it promises, as tables for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from instructmining.report.terminal import table

if TYPE_CHECKING:
    from instructmining.experiments.design import Design
    from instructmining.experiments.outlook import Outlook
    from instructmining.experiments.plan import Plan

#: Noise standard errors are given for where none is known: about that of the pilot.
NOISE = 0.002
#: Mixtures listed; a series of a hundred is in the plan.
_SHOWN = 20


def render_plan(plan: Plan) -> RenderableType:
    """Show sources with what was left out of them, evaluation sets and mixtures."""
    sources = table("source", "rows", "left out", right=(1,))
    for source in plan.sources:
        left_out = ", ".join(f"{reason} {n:,}" for reason, n in source.excluded.items())
        sources.add_row(escape(source.name), f"{source.n_rows:,}", escape(left_out) or "none")
    sets = table("evaluation", "part", "prompts", right=(2,))
    for wanted in plan.evaluations:
        sets.add_row(escape(wanted.name), wanted.part, str(wanted.n))
    mixtures = table("mixture", "drawn from")
    for mixture in plan.mixtures[:_SHOWN]:
        counts = ", ".join(f"{name} {n}" for name, n in mixture.counts.items())
        mixtures.add_row(escape(mixture.name), escape(counts))
    if len(plan.mixtures) > _SHOWN:
        mixtures.add_row("…", f"{len(plan.mixtures) - _SHOWN} more, in the plan")
    seeds = f"{len(plan.setting.seeds)} seeds each"
    if plan.setting.replicated is not None:
        seeds = f"the first {plan.setting.replicated} with {len(plan.setting.seeds)} seeds"
    total = (
        f"{len(plan.runs)} runs: {len(plan.mixtures)} mixtures of {plan.setting.size} examples, "
        f"{seeds}; plan {plan.hash[:12]}"
    )
    return Group(sources, sets, mixtures, total)


def render_design(design: Design, noise: float | None) -> RenderableType:
    """Show what designed mixtures can tell, beside what random ones could.

    Parameters
    ----------
    design : Design
        The mixtures.
    noise : float or None
        Standard deviation of the log loss of a run; None where it is not known.
    """
    sigma = NOISE if noise is None else noise
    ours, theirs = design.precision, design.random
    shown = table(
        *("indicator", "std. error", "random", "ratio", "VIF", "VIF, random"),
        right=(1, 2, 3, 4, 5),
    )
    for i, name in enumerate(ours.features):
        errors = ours.standard_errors[i], theirs.standard_errors[i]
        shown.add_row(
            escape(name),
            *(_known(sigma * error, ".2g") for error in errors),
            _known(errors[0] / errors[1], ".2f") if math.isfinite(errors[1]) else "–",
            *(_known(value, ".1f") for value in (ours.vif[i], theirs.vif[i])),
        )
    left_out = ", ".join(f"{name} {n}" for name, n in design.left_out.items())
    words = (
        "Standard error of the change of log loss per standard deviation of the indicator "
        f"among rows of one source, source shares in the model, at a noise of {sigma:.2g} "
        f"({'assumed' if noise is None else 'from --like'}); random: the same number of runs, "
        f"random source shares. Median ratio {_known(design.gain, '.2f')}; condition number "
        f"{_known(ours.condition_number, '.1f')}, random {_known(theirs.condition_number, '.1f')}. "
        "–: cannot be estimated, the runs are too few for so many indicators and sources."
    )
    chosen = (
        f"Chosen among {design.n_candidates:,} candidates; mixtures without a source: "
        f"{escape(left_out)}; {design.n_undefined} rows left out for an undefined indicator."
    )
    return Group(Text("Expected of each coefficient"), shown, words, chosen)


def _known(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def render_cost(n_runs: int, expected: Outlook, price: float | None) -> RenderableType:
    """Say how long runs will take, and what that costs."""
    hours = n_runs * expected.seconds / 3_600
    cost = "" if price is None else f", {hours * price:,.2f} at {price:g} an hour"
    return (
        f"About {hours:.1f} hours one after another ({expected.seconds:.0f} s a run in "
        f"{expected.n_runs} runs before){cost}."
    )
