"""A plan as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from instructmining.experiments.plan import Plan


def render_plan(plan: Plan) -> RenderableType:
    """Show sources with what was left out of them, evaluation sets and mixtures."""
    sources = Table("source", "rows", "left out", title="Sources", title_justify="left")
    for source in plan.sources:
        left_out = ", ".join(f"{reason} {n}" for reason, n in source.excluded.items())
        sources.add_row(escape(source.name), f"{source.n_rows:,}", escape(left_out) or "none")
    sets = Table("evaluation", "part", "prompts", title="Evaluation sets", title_justify="left")
    for wanted in plan.evaluations:
        sets.add_row(escape(wanted.name), wanted.part, str(wanted.n))
    mixtures = Table("mixture", "drawn from", title="Mixtures", title_justify="left")
    for mixture in plan.mixtures:
        counts = ", ".join(f"{name} {n}" for name, n in mixture.counts.items())
        mixtures.add_row(escape(mixture.name), escape(counts))
    n_runs = len(plan.mixtures) * len(plan.seeds)
    total = (
        f"{n_runs} runs: {len(plan.mixtures)} mixtures of {plan.setting.size} examples, "
        f"{len(plan.seeds)} seeds each; plan {plan.hash[:12]}"
    )
    return Group(sources, sets, mixtures, total)
