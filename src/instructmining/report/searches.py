"""A search for the size on a terminal: what it will cost, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.comparisons import render_contrasts
from instructmining.report.forecast import duration
from instructmining.report.select import inert
from instructmining.report.terminal import grid, notes, table

if TYPE_CHECKING:
    from instructmining.evaluation.sizes import SizeCurve
    from instructmining.experiments.outlook import Outlook
    from instructmining.experiments.size.scope import Search
    from instructmining.experiments.size.sized import Found

_UNKNOWN = "–"
#: What the curves are called, in the order they are shown.
_CURVES = {
    "epochs": "first rows of the ranking, {epochs}",
    "steps": "the same rows, {steps:,} optimiser steps",
    "random": "random rows, as many response tokens and steps as the first",
}


def render_search(
    search: Search, expected: Outlook | None, said: Sequence[str] = ()
) -> RenderableType:
    """Show what will be run, before anything is.

    Parameters
    ----------
    search : Search
        What is tried.
    expected : Outlook or None
        What one run takes, where runs like it are known.
    said : sequence of str
        Where the rule does not fit the columns.
    """
    plan, scope = search.plan, search.scope
    (source,) = plan.sources
    left_out = ", ".join(f"{reason} {n:,}" for reason, n in source.excluded.items())
    sets = ", ".join(f"{one.name} ({one.n:,} prompts)" for one in plan.evaluations)
    facts = grid(
        [
            ("pool", f"{source.n_rows:,} rows, ranked by {search.by}"),
            ("left out", left_out or "none"),
            ("evaluation", sets),
            ("sweep", ", ".join(f"{size:,}" for size in scope.sweep)),
            ("BlendSearch", f"up to {scope.trials} sizes"),
            ("seeds", ", ".join(map(str, search.seeds))),
        ]
    )
    head = f"{search.most_runs} runs at most; plan {plan.hash[:12]}"
    parts: list[RenderableType] = [Text(head, style="bold"), facts]
    if expected is not None:
        epochs = int(plan.setting.training.get("epochs", 1))
        seconds = sum(expected.of_rows(n, epochs) for n in search.most_rows())
        parts.append(
            Text(
                f"About {duration(seconds)} one after another, for rows as long as those of "
                f"{expected.n_runs} runs before; longer rows take longer."
            )
        )
    return Group(*parts, *notes("To be known", said))


def render_found(found: Found) -> RenderableType:
    """Show the size, the curves it was read off, and what it is worth elsewhere."""
    plan = found.search.plan
    epochs = int(plan.setting.training.get("epochs", 1))
    words = {"epochs": f"{epochs} epoch{'s' if epochs > 1 else ''}", "steps": found.search.steps}
    parts: list[RenderableType] = [inert(found.verdict, style="bold")]
    for name, title in _CURVES.items():
        if name in found.curves:
            parts += [Text(), inert(title.format(**words), style="bold")]
            parts.append(_curve(found, name))
    confidence = found.comparison.terms.confidence
    parts += [
        Text(),
        inert(
            "Losses relative to the untuned model's, averaged over the evaluation sets, with "
            f"{confidence} intervals over prompts and seeds; searched: the prompts sizes were "
            "chosen on; kept back: the others."
        ),
    ]
    for name in dict.fromkeys(one.evaluation for one in found.comparison.contrasts):
        contrasts = [one for one in found.comparison.contrasts if one.evaluation == name]
        parts += [Text(), inert(f"{name}: {contrasts[0].n_prompts:,} prompts", style="bold")]
        parts.append(render_contrasts(contrasts))
    parts += [Text(), inert(f"Family: {found.comparison.family}.")]
    parts.append(inert(f"{duration(found.seconds)} of runs."))
    return Group(*parts, *notes("To be known", found.notes))


def _curve(found: Found, name: str) -> Table:
    searched: SizeCurve = found.curves[name]  # type: ignore[index]
    kept = {point.size: point for point in found.reported[name].points}  # type: ignore[index]
    proposers: dict[int, list[str]] = {}
    for trial in found.tried:
        if trial.curve == name and trial.proposer != "comparison":
            proposers.setdefault(trial.size, []).append(trial.proposer)
    shown = table(
        *("rows", "loss,\nsearched", "interval", "above\nbest", "interval", "loss,\nkept back", ""),
        right=(0, 1, 2, 3, 4, 5),
    )
    # On a narrow terminal the last column gives way, never a number.
    for column in shown.columns[:-1]:
        column.no_wrap = True
    for point in searched.points:
        shown.add_row(
            f"{point.size:,}",
            f"{point.loss:.4f}",
            _interval(point.interval, "{:.3f} … {:.3f}"),
            f"{100 * point.above:+.2f} %",
            _interval(point.above_interval, "{:+.2f} … {:+.2f}", 100),
            f"{kept[point.size].loss:.4f}",
            inert(_mark(point.size, searched, proposers.get(point.size, []))),
        )
    return shown


def _mark(size: int, curve: SizeCurve, proposers: Sequence[str]) -> str:
    found = [", ".join(dict.fromkeys(proposers))] if proposers else []
    if size == curve.best:
        found.append("best")
    elif size == curve.frugal:
        found.append("within one standard error")
    return "; ".join(found)


def _interval(pair: tuple[float, float] | None, form: str, scale: float = 1.0) -> str:
    return _UNKNOWN if pair is None else form.format(*(scale * end for end in pair))
