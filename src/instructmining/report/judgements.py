"""Judged answers on a terminal: what asking will cost, and what the judge said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert
from instructmining.report.terminal import grid, notes, table

if TYPE_CHECKING:
    from instructmining.evaluation.judged import JudgeQuality, Share
    from instructmining.evaluation.judges.base import Judge
    from instructmining.experiments.contest.judging import Judged, Trial

_UNKNOWN = "–"
_MILLION = 1_000_000


def render_trial(
    trial: Trial, judge: Judge, left: int, prices: tuple[float, float] | None
) -> RenderableType:
    """Show what will be asked, before anything is.

    Parameters
    ----------
    trial : Trial
        What is asked.
    judge : Judge
        Who is.
    left : int
        Questions that were not asked yet.
    prices : tuple of float or None
        Of a million tokens sent and received.
    """
    questions = trial.questions(judge)
    bouts = ", ".join(f"{bout.method} - {bout.other}" for bout in trial.bouts)
    orders = "both orders" if judge.sees_order else "one order, which it does not see"
    rows = [
        ("judge", ", ".join(f"{name} {value}" for name, value in judge.definition.items())),
        ("held against people", f"{len(trial.people):,} pairs" if trial.people else "not"),
        ("answers", f"{bouts}; {len(trial.bouts[0].prompts):,} prompts, {orders}"),
        ("questions", f"{len(questions):,}, {left:,} of them still to be asked"),
    ]
    expected = getattr(judge, "expected_tokens", None)
    if expected is not None and questions:
        sent, received = (n * left // len(questions) for n in expected(questions))
        rows.append(("tokens", f"about {sent:,} sent, at most {received:,} received"))
        if prices is not None:
            cost = (sent * prices[0] + received * prices[1]) / _MILLION
            rows.append(("cost", f"at most about {cost:,.2f}"))
    return grid(rows)


def render_judged(judged: Judged) -> RenderableType:
    """Show the verdict, how far the judge is to be trusted, and what the verdict rests on."""
    parts: list[RenderableType] = [inert(judged.verdict, style="bold")]
    if judged.quality is not None:
        parts += [Text(), Text("The judge", style="bold"), _quality(judged.quality)]
    parts += [Text(), Text("Answers", style="bold"), _shares(judged), _lengths(judged)]
    said = (
        "Preferred: won and half of the tied; intervals over prompts. A pair is won where both "
        "orders say so. At equal length: what is left when longer answers are not preferred for "
        "their length. First: verdicts for the answer shown first; 50 % without bias."
    )
    return Group(*parts, inert(said), *notes("To be known", judged.notes))


def _quality(quality: JudgeQuality) -> Table:
    rows = [
        ("agrees with people", _share(quality.agreement)),
        ("preferring the longer would", _share(quality.longer)),
        ("no verdict", f"{quality.n_failed} of {quality.n} pairs"),
    ]
    if quality.order is not None:
        rows.append(("says the same in both orders", _share(quality.order.consistent)))
        rows.append(("for the answer shown first", _share(quality.order.first)))
    return grid(rows)


def _against(judged: Judged) -> str:
    """Head of the column of methods: one of them is held against the others."""
    return f"{judged.contrasts[0].method} against"


def _shares(judged: Judged) -> Table:
    shown = table(
        *(_against(judged), "won", "tied", "lost", "preferred", "interval", "conclusion"),
        right=(1, 2, 3, 4, 5),
    )
    for one in judged.contrasts:
        shown.add_row(
            inert(one.other),
            *(f"{share:.1%}" for share in (one.win, one.tie, one.lose, one.preferred)),
            _interval(one.interval),
            inert(one.conclusion),
        )
    return shown


def _lengths(judged: Judged) -> Table:
    shown = table(
        *(_against(judged), "tokens", "theirs", "at equal length", "interval"),
        *("same", "first", "failed"),
        right=(1, 2, 3, 4, 5, 6, 7),
    )
    for one in judged.contrasts:
        order = one.order
        shown.add_row(
            inert(one.other),
            *(f"{tokens:.0f}" for tokens in one.tokens),
            f"{one.at_equal_length:.1%}",
            _interval(one.equal_length_interval),
            _UNKNOWN if order is None else _value(order.consistent),
            _UNKNOWN if order is None else _value(order.first),
            str(one.n_failed),
        )
    return shown


def _share(share: Share) -> str:
    if share.value is None or share.interval is None:
        return _UNKNOWN
    return f"{share.value:.1%} of {share.n:,}, interval {_interval(share.interval)}"


def _value(share: Share) -> str:
    return _UNKNOWN if share.value is None else f"{share.value:.0%}"


def _interval(pair: tuple[float, float]) -> str:
    return f"{100 * pair[0]:.0f} … {100 * pair[1]:.0f} %"
