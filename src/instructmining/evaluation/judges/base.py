"""What a judge is asked, and what it may say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from instructmining.errors import ExperimentError
from instructmining.journal import Journal
from instructmining.plugins import blaming

#: What a judge said of the answers as they were shown; None where it cannot be told.
Verdict = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Question:
    """Two answers to one prompt, in the order they are shown.

    Parameters
    ----------
    prompt, first, second : str
        Texts.
    """

    prompt: str
    first: str
    second: str

    @property
    def swapped(self) -> Question:
        """The same answers in the other order."""
        return Question(self.prompt, self.second, self.first)


@dataclass(frozen=True)
class Judgement:
    """What a judge said of one question.

    Parameters
    ----------
    verdict : {"first", "second", "tie"} or None
        None where its reply holds no verdict, or more than one.
    reply : str
        What it wrote.
    """

    verdict: Verdict | None
    reply: str = ""


class Judge(Protocol):
    """Says which of two answers serves better."""

    @property
    def definition(self) -> dict[str, str | int | float]:
        """What its judgements depend on; part of the key under which they are kept."""

    @property
    def sees_order(self) -> bool:
        """Whether the order answers are shown in can matter to it."""

    def judge(self, questions: Sequence[Question], keep: Callable[[int, Judgement], None]) -> None:
        """Judge questions, in any order; `keep` is called with the place of each as it is done."""


class JudgementLog(Journal):
    """Judgements, one line a question."""

    name = "file of judgements"
    entry = "judgement"
    key = "question"
    required = ("question", "verdict", "reply")


def ask_all(
    judge: Judge,
    questions: Iterable[Question],
    log: JudgementLog,
    limit: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[Question, Judgement]:
    """Have questions judged that were not yet, and return what is known of all.

    Every judgement is on the disk before the next is waited for, under a key of the judge and
    the question: nothing is asked twice, counted twice or lost.

    Parameters
    ----------
    judge : Judge
        Who is asked.
    questions : iterable of Question
        Equal ones are asked once.
    log : JudgementLog
        What was judged before, and will be.
    limit : int, optional
        Ask only so many.
    advance : callable
        Told of every judgement.

    Raises
    ------
    ExperimentError
        If a verdict is none there is.
    """
    keys = {question: key_of(judge, question) for question in questions}
    known = {record["question"]: record for record in log.records()}
    open_ones = [question for question, key in keys.items() if key not in known][:limit]

    def keep(place: int, judgement: Judgement) -> None:
        if not 0 <= place < len(open_ones):
            raise ExperimentError(
                f"a judge answered question {place} of {len(open_ones)}; wanted one from 0 on; "
                "mend the judge"
            )
        if judgement.verdict not in (*get_args(Verdict), None):
            raise ExperimentError(
                f"a judge gave the verdict {judgement.verdict!r}; wanted "
                f"{', '.join(get_args(Verdict))} or None; mend the judge"
            )
        key = keys[open_ones[place]]
        record = {"question": key, "verdict": judgement.verdict, "reply": judgement.reply}
        log.append(record)
        known[key] = record
        advance(1)

    if open_ones:
        with blaming(judge):
            judge.judge(open_ones, keep)
    return {
        question: Judgement(known[key]["verdict"], known[key]["reply"])
        for question, key in keys.items()
        if key in known
    }


def key_of(judge: Judge, question: Question) -> str:
    """Hexadecimal SHA-256 of a judge and a question."""
    asked = [question.prompt, question.first, question.second]
    # ASCII escapes keep lone surrogates, which models may write, hashable.
    text = json.dumps([judge.definition, asked], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
