"""A comparison of ways of choosing data on a terminal: what it will cost, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.forecast import duration
from instructmining.report.select import inert
from instructmining.report.terminal import grid, notes, table

if TYPE_CHECKING:
    from instructmining.evaluation.contrasts import Contrast, Difference, MeanLoss
    from instructmining.experiments.contest.comparing import Compared, Contest, Cost
    from instructmining.experiments.outlook import Outlook

_UNKNOWN = "–"


def render_contest(
    contest: Contest, left: Sequence[tuple[str, int]], expected: Outlook | None
) -> RenderableType:
    """Show what will be run, before anything is.

    Parameters
    ----------
    contest : Contest
        What is compared.
    left : sequence of (mixture, seed)
        Runs still to be made.
    expected : Outlook or None
        What one run takes, where runs like it are known.
    """
    plan = contest.plan
    source = plan.sources[0]
    left_out = ", ".join(f"{reason} {n:,}" for reason, n in source.excluded.items())
    sets = ", ".join(f"{one.name} ({one.part}, {one.n:,} prompts)" for one in plan.evaluations)
    facts = grid(
        [
            ("pool", f"{source.n_rows:,} rows, {contest.n_usable:,} usable by every method"),
            ("left out", left_out or "none"),
            ("evaluation", sets),
            ("equal", _budget(contest)),
            ("seeds", ", ".join(map(str, plan.setting.seeds))),
        ]
    )
    n_runs = len(plan.runs)
    head = f"{n_runs} runs, {len(left)} of them still to be made; plan {plan.hash[:12]}"
    parts: list[RenderableType] = [Text(head, style="bold"), facts, _costs(contest.costs())]
    if expected is not None:
        said = (
            f"About {duration(contest.seconds(left, expected))} one after another, for rows as "
            f"long as those of {expected.n_runs} runs before; longer rows take longer."
        )
        parts.append(Text(said))
    return Group(*parts, *notes("To be known", contest.notes))


def render_compared(compared: Compared) -> RenderableType:
    """Show the verdict, and what it rests on."""
    comparison = compared.comparison
    parts: list[RenderableType] = [inert(comparison.verdict, style="bold")]
    for name in dict.fromkeys(one.evaluation for one in comparison.methods):
        contrasts = [one for one in comparison.contrasts if one.evaluation == name]
        n = contrasts[0].n_prompts
        parts += [Text(), inert(f"{name}: {n:,} prompts", style="bold")]
        parts += [_losses(compared, name), render_contrasts(contrasts), _wins(contrasts)]
    level = comparison.terms.confidence
    said = (
        f"Losses in nats per token, token- and example-weighted, with {level} intervals over "
        "prompts and seeds. Differences, by token where nothing else is said: loss of the one "
        "over that of the other, less 1; below 0 is better, and less than "
        f"{100 * comparison.terms.margin:g} % does not matter. Won: loss lower by more than "
        f"{comparison.terms.tie:g} nats per token, averaged over seeds."
    )
    parts += [Text(), inert(said), inert(f"Family: {comparison.family}.")]
    parts += [Text(), Text("Cost", style="bold"), _costs(compared.costs)]
    parts += [inert(f"Equal: {_budget(compared.contest)}.")]
    return Group(*parts, *notes("To be known", compared.notes))


def _budget(contest: Contest) -> str:
    budget = contest.budget
    if budget["equal"] == "rows":
        return (
            f"{budget['rows']:,} rows each, in batches of one size, so {budget['steps']:,} "
            "optimiser steps a run"
        )
    return (
        f"the {budget['tokens']:,} loss-bearing response tokens of {budget['reference']}'s "
        f"{budget['rows']:,} rows, to the nearest row, and {budget['steps']:,} optimiser steps a "
        "run"
    )


def _costs(costs: Sequence[Cost]) -> Table:
    shown = table(
        *("method", "runs", "rows", "response tokens", "steps", "training a run"),
        right=(1, 2, 3, 4, 5),
    )
    for cost in costs:
        shown.add_row(
            inert(cost.method),
            str(cost.n_runs),
            span(cost.rows),
            span(cost.tokens),
            f"{cost.steps:,}",
            _UNKNOWN if cost.seconds is None else duration(cost.seconds),
        )
    return shown


def _losses(compared: Compared, name: str) -> Table:
    shown = table(
        *("loss of", "seeds", "by token", "interval", "by example", "interval"),
        right=(1, 2, 3, 4, 5),
    )
    if name in compared.untuned:
        before = compared.untuned[name]
        token, example = (f"{before[key]:.4f}" for key in ("token_mean", "example_mean"))
        shown.add_row("untuned", "", token, "", example, "")
    for one in compared.comparison.methods:
        if one.evaluation == name:
            cells = [*_mean(one.by_token), *_mean(one.by_example)]
            shown.add_row(inert(one.method), str(one.n_seeds), *cells)
    return shown


def render_contrasts(contrasts: Sequence[Contrast]) -> Table:
    """Show one method against others, on one evaluation set."""
    (method,) = {one.method for one in contrasts}
    shown = table(
        *(f"{method} against", "difference", "interval", "p, adj.", "conclusion"),
        right=(1, 2, 3),
    )
    for one in contrasts:
        shown.add_row(inert(one.other), *_difference(one.by_token), inert(one.conclusion))
        shown.add_row("  by example", *_difference(one.by_example), "")
    return shown


def _wins(contrasts: Sequence[Contrast]) -> Table:
    (method,) = {one.method for one in contrasts}
    shown = table(
        *(f"{method} against", "won", "tied", "lost", "won, interval", "score", "interval"),
        right=(1, 2, 3, 4, 5, 6),
    )
    for one in contrasts:
        wins = one.wins
        low, high = wins.win_interval
        shown.add_row(
            inert(one.other),
            *(f"{share:.1%}" for share in (wins.win_share, wins.tie_share, wins.lose_share)),
            f"{100 * low:.0f} … {100 * high:.0f} %",
            f"{wins.score:.2f}",
            "{:.2f} … {:.2f}".format(*wins.score_interval),
        )
    return shown


def _mean(loss: MeanLoss) -> tuple[str, str]:
    interval = _UNKNOWN if loss.interval is None else "{:.4f} … {:.4f}".format(*loss.interval)
    return f"{loss.value:.4f}", interval


def _difference(one: Difference) -> tuple[str, str, str]:
    interval = _UNKNOWN
    if one.interval is not None:
        interval = " … ".join(_percent(end) for end in one.interval)
    p = _UNKNOWN if one.p_adjusted is None else p_value(one.p_adjusted)
    return f"{_percent(one.relative)} %", interval, p


def _percent(share: float) -> str:
    # Plus zero: a negative number that rounds to zero would show as -0.00.
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def p_value(p: float) -> str:
    """Write a p value with three decimals, or that it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def span(pair: Sequence[int]) -> str:
    """Write the least and the most of a count, once where they are equal."""
    low, high = pair
    return f"{low:,}" if low == high else f"{low:,} – {high:,}"
