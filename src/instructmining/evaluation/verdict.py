"""A comparison in one sentence, and what a reader should know beside it."""

from __future__ import annotations

from collections.abc import Sequence

from instructmining.evaluation.conclusions import (
    BETTER,
    NOT_SHOWN,
    SAME,
    TOO_FEW,
    UNRESOLVED,
    WORSE,
    Conclusion,
    Terms,
)
from instructmining.evaluation.contrasts import Contrast
from instructmining.evaluation.losses import EvaluationLosses

#: How each conclusion reads, first in its clause and after another one; the order they come in.
_WORDS: dict[Conclusion, tuple[str, str]] = {
    BETTER: ("better than {}", "better"),
    WORSE: ("worse than {}", "worse"),
    SAME: ("not practically different from {}", "not practically different"),
    UNRESOLVED: ("unresolved against {}", "unresolved"),
    NOT_SHOWN: ("not shown better than {}", "no difference shown"),
    TOO_FEW: ("not compared with {}", "too few seeds"),
}
#: Share of the prompts below which it is said on how few the token mean rests.
_FEW = 0.5


def sentence(contrasts: Sequence[Contrast], terms: Terms) -> str:
    """Say in one sentence what a comparison shows.

    Parameters
    ----------
    contrasts : sequence of Contrast
        At least one; those of one method are put together.
    terms : Terms
        For the confidence of intervals.
    """
    methods = dict.fromkeys(one.method for one in contrasts)
    said = [
        _on_method(method, [one for one in contrasts if one.method == method], terms)
        for method in methods
    ]
    return "; ".join(said)


def family(contrasts: Sequence[Contrast], terms: Terms) -> str:
    """State which tests the conclusions hold for together."""
    n = sum(one.conclusion != TOO_FEW for one in contrasts)
    if not n:
        return "nothing was tested: no two methods share two seeds"
    pairs = list(dict.fromkeys(f"{one.method} - {one.other}" for one in contrasts))
    sets = list(dict.fromkeys(one.evaluation for one in contrasts))
    return (
        f"{_count(n, 'contrast')} ({', '.join(pairs)}; on {_and(sets)}), p values adjusted "
        f"together (Holm) and held against {terms.level:g}, each weighting by itself; "
        f"{terms.confidence} intervals are those of each contrast alone"
    )


def notes(
    contrasts: Sequence[Contrast], evaluations: Sequence[EvaluationLosses]
) -> tuple[str, ...]:
    """Say what limits the conclusions, one sentence each."""
    found = []
    for method, other in dict.fromkeys((one.method, one.other) for one in contrasts):
        own = [one for one in contrasts if (one.method, one.other) == (method, other)]
        single = [one.evaluation for one in own if one.conclusion == TOO_FEW]
        if single:
            found.append(
                f"{method} and {other} share one seed on {_and(single)}: how much a seed changes "
                "is not known, so nothing is concluded"
            )
        blind = [
            f"{100 * _shown_from(one):.1f} % on {one.evaluation} ({len(one.seeds)} seeds)"
            for one in own
            if one.conclusion == NOT_SHOWN
        ]
        if blind:
            found.append(
                f"{method} and {other}: by both weightings a difference is sure to be shown only "
                f"from {_and(blind)}"
            )
    for evaluation in evaluations:
        tokens = evaluation.n_tokens
        effective = tokens.sum() ** 2 / (tokens**2).sum()
        if effective < _FEW * len(tokens):
            found.append(
                f"{evaluation.name}: references differ so much in length that the token mean of "
                f"{len(tokens)} prompts rests on about {effective:.0f}"
            )
    return tuple(found)


def _shown_from(contrast: Contrast) -> float:
    """Relative difference from which both weightings would show it."""
    both = (contrast.by_token.shown_from, contrast.by_example.shown_from)
    return max(one for one in both if one is not None)


def _on_method(method: str, contrasts: Sequence[Contrast], terms: Terms) -> str:
    by_other: dict[str, list[Contrast]] = {}
    for one in contrasts:
        by_other.setdefault(one.other, []).append(one)
    uniform: dict[Conclusion, list[str]] = {NOT_SHOWN: [], TOO_FEW: []}
    clauses = []
    for other, own in by_other.items():
        kinds = {one.conclusion for one in own}
        if len(kinds) == 1 and kinds <= set(uniform):
            uniform[own[0].conclusion].append(other)
        else:
            clauses.append(_clause(other, own, terms))
    sets = list(dict.fromkeys(one.evaluation for one in contrasts))
    where = f"on {sets[0]}" if len(sets) == 1 else "anywhere"
    if uniform[NOT_SHOWN]:
        clauses.append(f"not shown better than {_and(uniform[NOT_SHOWN], 'or')} {where}")
    said = [f"{method} is {'; '.join(clauses)}"] if clauses else []
    if uniform[TOO_FEW]:
        said.append(f"too few seeds to compare {method} with {_and(uniform[TOO_FEW], 'or')}")
    return "; ".join(said)


def _clause(other: str, contrasts: Sequence[Contrast], terms: Terms) -> str:
    parts: list[str] = []
    for conclusion, words in _WORDS.items():
        own = [one for one in contrasts if one.conclusion == conclusion]
        if own:
            start = words[1] if parts else words[0].format(other)
            parts.append(f"{start} on {_and([_one(contrast, terms) for contrast in own])}")
    return ", ".join(parts)


def _one(contrast: Contrast, terms: Terms) -> str:
    """Name of the set, with the figures that a claim rests on."""
    if contrast.conclusion == UNRESOLVED:
        return (
            f"{contrast.evaluation} ({contrast.by_token.conclusion} by token, "
            f"{contrast.by_example.conclusion} by example)"
        )
    interval = contrast.by_token.interval
    if contrast.conclusion in (NOT_SHOWN, TOO_FEW) or interval is None:
        return contrast.evaluation
    low, high = (f"{100 * end:+.1f}" for end in interval)
    return (
        f"{contrast.evaluation} ({100 * contrast.by_token.relative:+.1f} %, {terms.confidence} "
        f"interval {low} to {high})"
    )


def _and(names: Sequence[str], word: str = "and") -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
