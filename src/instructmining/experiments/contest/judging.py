"""Answers of a comparison, put before a judge in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import Answer, Writing
from instructmining.evaluation.conclusions import Terms
from instructmining.evaluation.judged import (
    LEAST_AGREEMENT,
    JudgedContrast,
    JudgeQuality,
    codes,
    judge_quality,
    judged_contrasts,
)
from instructmining.evaluation.judges.base import (
    Judge,
    Judgement,
    JudgementLog,
    Question,
    ask_all,
)
from instructmining.experiments.contest.answering import Prompts
from instructmining.experiments.contest.choosing import RANDOM
from instructmining.experiments.mixtures import ranking
from instructmining.experiments.outcome import plain, save_sealed
from instructmining.experiments.plan import Plan
from instructmining.heads.preferences import Preference, read_preferences

#: Version of the layout of ``judged.json``.
SCHEMA = 1
#: What equal answers are, without asking.
_TIE = Judgement("tie")


@dataclass(frozen=True)
class Bout:
    """The answers of one method against those of another.

    Parameters
    ----------
    method, other : str
        Which.
    prompts : tuple of str
        What was asked.
    ours, theirs : tuple of sequence of Answer
        One sequence for each seed both were trained with.
    """

    method: str
    other: str
    prompts: tuple[str, ...]
    ours: tuple[Sequence[Answer], ...]
    theirs: tuple[Sequence[Answer], ...]

    def questions(self) -> list[list[Question]]:
        """Ours shown first, seed by seed."""
        return [
            [
                Question(prompt, one.text, other.text)
                for prompt, one, other in zip(self.prompts, ours, theirs, strict=True)
            ]
            for ours, theirs in zip(self.ours, self.theirs, strict=True)
        ]

    @property
    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of our answers and of theirs, (n_seeds, n_prompts)."""
        ours, theirs = (
            np.array([[one.n_tokens for one in answers] for answers in side], dtype=np.float64)
            for side in (self.ours, self.theirs)
        )
        return ours, theirs


@dataclass(frozen=True)
class Trial:
    """What a judge is asked in all.

    Parameters
    ----------
    bouts : tuple of Bout
        Methods, pair by pair.
    people : tuple of Preference
        Pairs people have judged, on which the judge is measured.
    writing : Writing
        How the answers were written.
    """

    bouts: tuple[Bout, ...]
    people: tuple[Preference, ...]
    writing: Writing

    def questions(self, judge: Judge) -> list[Question]:
        """Every question, once; first those the judge is measured on."""
        of_methods = (chain.from_iterable(bout.questions()) for bout in self.bouts)
        found: dict[Question, None] = {}
        for question in chain(self.of_people(), *of_methods):
            if question.first != question.second:
                found[question] = None
                if judge.sees_order:
                    found[question.swapped] = None
        return list(found)

    def of_people(self) -> Iterator[Question]:
        """Ask about the pairs people have judged, what they prefer shown first."""
        for pair in self.people:
            prompt = "\n".join(turn.content for turn in pair.turns)
            yield Question(prompt, pair.better, pair.worse)


@dataclass(frozen=True)
class Judged:
    """What a judge said.

    Parameters
    ----------
    judge : mapping
        What its judgements depend on.
    quality : JudgeQuality or None
        Against people; None where it was not measured.
    contrasts : tuple of JudgedContrast
        Of the methods.
    writing : Writing
        How the answers were written.
    n_asked : int
        Questions.
    """

    judge: Mapping[str, str | int | float]
    quality: JudgeQuality | None
    contrasts: tuple[JudgedContrast, ...]
    writing: Writing
    n_asked: int

    @property
    def plumbing(self) -> bool:
        """Whether this tests the plumbing alone: the judge does not agree with people enough."""
        return self.quality is None or not self.quality.trusted

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        said = "; ".join(_said(one) for one in self.contrasts)
        return f"a test of the plumbing, not of answers: {said}" if self.plumbing else said

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the judge, one sentence each."""
        return tuple(_notes(self))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; what is not known is None."""
        return plain(
            {
                "schema": SCHEMA,
                "verdict": self.verdict,
                "plumbing": self.plumbing,
                "judge": dict(self.judge),
                "quality": None if self.quality is None else asdict(self.quality),
                "contrasts": [
                    {**asdict(one), "conclusion": one.conclusion} for one in self.contrasts
                ],
                "writing": asdict(self.writing),
                "questions": self.n_asked,
                "notes": self.notes,
            }
        )

    def save(self, path: Path) -> None:
        """Write it as sealed JSON; an existing file is replaced only by a whole one."""
        save_sealed(self.to_json(), path)


def people(path: str | Path, n: int) -> tuple[Preference, ...]:
    """Read pairs people have judged, at most `n`, drawn by the hash of what they say.

    Raises
    ------
    ExperimentError
        If none is asked for.
    InputError
        If the file cannot be read, or holds no pair.
    """
    if n < 1:
        raise ExperimentError(f"{n} pairs people have judged came; give at least 1")
    rank = ranking(0, "people")
    pairs = read_preferences(path).pairs
    return tuple(sorted(pairs, key=lambda pair: rank(pair.group + pair.better + pair.worse))[:n])


def make_bouts(
    plan: Plan,
    answers: Mapping[tuple[str, int], Sequence[Answer]],
    prompts: Prompts,
    reference: str,
) -> tuple[Bout, ...]:
    """Hold the answers of one method against those of every other.

    Parameters
    ----------
    plan : Plan
        Of the comparison.
    answers : mapping of (mixture, seed) to sequence of Answer
        Of its runs; all must be there.
    prompts : Prompts
        What was asked.
    reference : str
        The method that is held against the others.

    Raises
    ------
    ExperimentError
        If answers are missing, or there is no such method.
    """
    missing = [run for run in plan.runs if run not in answers]
    if missing:
        raise ExperimentError(
            f"{len(missing)} of {len(plan.runs)} runs have no answers (first: {missing[0][0]} with "
            f"seed {missing[0][1]}); finish the comparison first"
        )
    by_method: dict[str, dict[int, Sequence[Answer]]] = {}
    for mixture, seed in plan.runs:
        # Random draws another mixture for every seed.
        method = RANDOM if mixture == f"{RANDOM}-s{seed}" else mixture
        by_method.setdefault(method, {})[seed] = answers[mixture, seed]
    if reference not in by_method:
        raise ExperimentError(f"reference {reference!r} came; choose one of {', '.join(by_method)}")
    asked = tuple(example.prompt for example in prompts.examples)
    ours = by_method.pop(reference)
    return tuple(
        Bout(
            reference,
            other,
            asked,
            *(tuple(side[seed] for seed in sorted({*ours} & {*theirs})) for side in (ours, theirs)),
        )
        for other, theirs in by_method.items()
    )


def conclude(
    trial: Trial,
    judge: Judge,
    known: Mapping[Question, Judgement],
    terms: Terms | None = None,
) -> Judged:
    """Read what a judge said off its judgements, all of which must be there."""
    terms = terms or Terms()

    def coded(questions: Sequence[Question]) -> tuple[np.ndarray, np.ndarray | None]:
        found = [_TIE if q.first == q.second else known[q] for q in questions]
        if not judge.sees_order:
            return codes(found), None
        other = [_TIE if q.first == q.second else known[q.swapped] for q in questions]
        return codes(found), codes(other, swapped=True)

    tables = []
    for bout in trial.bouts:
        rows = [coded(questions) for questions in bout.questions()]
        forward = np.stack([row[0] for row in rows])
        backward = [row[1] for row in rows if row[1] is not None]
        tables.append((forward, np.stack(backward) if backward else None))
    names = [(bout.method, bout.other) for bout in trial.bouts]
    lengths = [bout.lengths for bout in trial.bouts]
    return Judged(
        judge.definition,
        _quality(trial, coded, terms),
        judged_contrasts(names, tables, lengths, terms),
        trial.writing,
        len(trial.questions(judge)),
    )


def put_before(
    trial: Trial,
    judge: Judge,
    log: JudgementLog,
    limit: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> Judged | None:
    """Ask the judge what it was not asked yet, and read what it said; None while some is left."""
    questions = trial.questions(judge)
    known = ask_all(judge, questions, log, limit, advance)
    return conclude(trial, judge, known) if len(known) == len(questions) else None


def _quality(
    trial: Trial,
    coded: Callable[[Sequence[Question]], tuple[np.ndarray, np.ndarray | None]],
    terms: Terms,
) -> JudgeQuality | None:
    if not trial.people:
        return None
    longer = np.array([float(np.sign(len(p.better) - len(p.worse))) for p in trial.people])
    return judge_quality(*coded(list(trial.of_people())), longer, terms.level)


def _said(one: JudgedContrast) -> str:
    low, high = one.interval
    words = {
        "preferred": "are preferred to",
        "not preferred": "are less liked than",
        "no preference shown": "are not shown to be preferred to",
    }[one.conclusion]
    return (
        f"{one.method}'s answers {words} {one.other}'s ({100 * one.preferred:.0f} %, interval "
        f"{100 * low:.0f} to {100 * high:.0f}, over {one.n_prompts} prompts)"
    )


def _notes(judged: Judged) -> Iterator[str]:
    quality = judged.quality
    if quality is None:
        yield (
            "the judge was not held against people (--human-pairs), so what it says is a test of "
            "the plumbing"
        )
    elif quality.agreement.value is None:
        yield f"the judge gave no verdict on any of {quality.n} pairs people have judged"
    else:
        agreement, longer = quality.agreement, quality.longer.value or 0.0
        low, high = agreement.interval or (0.0, 1.0)
        least = f"{100 * LEAST_AGREEMENT:.0f} %"
        said = (
            f"the judge agrees with people on {100 * quality.agreement.value:.0f} % of "
            f"{agreement.n} pairs (interval {100 * low:.0f} to {100 * high:.0f}); preferring the "
            f"longer answer, on {100 * longer:.0f} %"
        )
        yield said if quality.trusted else f"{said}: below {least} it is no judge"
        consistent = None if quality.order is None else quality.order.consistent.value
        if consistent is not None:
            yield f"asked in both orders it says the same of {100 * consistent:.0f} % of them"
    for one in judged.contrasts:
        if one.n_failed:
            yield (
                f"{one.method} and {one.other}: {one.n_failed} pairs were left out, the judge's "
                "reply held no verdict"
            )
        low, high = one.equal_length_interval
        if one.conclusion == "preferred" and low <= 0.5:
            yield (
                f"{one.method} and {one.other}: at equal length the preference is "
                f"{100 * one.at_equal_length:.0f} % (interval {100 * low:.0f} to "
                f"{100 * high:.0f}): length may be what is preferred"
            )
