"""A judge that counts words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from instructmining.evaluation.judges.base import Judgement, Question, Verdict


@dataclass(frozen=True)
class Concise:
    """Prefers the answer whose number of words is nearer to the wanted one.

    Parameters
    ----------
    words : int
        How many are wanted.
    """

    #: Each answer is looked at by itself.
    sees_order: ClassVar[bool] = False
    words: int = 80

    @property
    def definition(self) -> dict[str, str | int | float]:
        """What judgements depend on; `version` is raised when they change."""
        return {"judge": "concise", "version": 1, "words": self.words}

    def judge(self, questions: Sequence[Question], keep: Callable[[int, Judgement], None]) -> None:
        """Judge questions one by one; equally far is a tie."""
        for place, one in enumerate(questions):
            first, second = len(one.first.split()), len(one.second.split())
            gain = abs(second - self.words) - abs(first - self.words)
            verdict: Verdict = "tie" if gain == 0 else "first" if gain > 0 else "second"
            keep(place, Judgement(verdict, f"{first} and {second} words"))
