"""A reward model, or a head in its place, as a judge: the answer it gives more is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from instructmining.evaluation.judges.base import Judgement, Question, Verdict
from instructmining.examples import Example, Turn
from instructmining.indicators.base import Indicator
from instructmining.models.batching import plan_batches

#: Questions judged at one time, so that what is done is kept.
_CHUNK = 64


class RewardJudge:
    """Compares two answers by the reward of each.

    Parameters
    ----------
    indicator : Indicator
        Fills the column ``rew``.
    of_pass : pass
        What the indicator reads: `models.reward.RewardPass`, or for a head on a language
        model's states `models.causal.CausalPass`.
    """

    #: Each answer is looked at by itself.
    sees_order = False

    def __init__(self, indicator: Indicator, of_pass: Any) -> None:
        self._indicator = indicator
        self._pass = of_pass

    @property
    def definition(self) -> dict[str, str | int | float]:
        """The model, the head if there is one, and how the input is made."""
        return {f"reward {name}": str(value) for name, value in self.reads.items()}

    @property
    def reads(self) -> Mapping[str, Any]:
        """The definition of the column, as scores and run logs have it."""
        return self._indicator.definition(self._pass.definition)

    def judge(self, questions: Sequence[Question], keep: Callable[[int, Judgement], None]) -> None:
        """Judge questions by reward; an answer without one, an empty one say, loses to any."""
        for start in range(0, len(questions), _CHUNK):
            some = questions[start : start + _CHUNK]
            sides = [(q.prompt, text) for q in some for text in (q.first, q.second)]
            rewards = self._of(sides).reshape(-1, 2)
            for place, (first, second) in enumerate(rewards, start):
                keep(place, Judgement(_verdict(first, second), f"{first:.6g} {second:.6g}"))

    def _of(self, sides: Sequence[tuple[str, str]]) -> np.ndarray:
        examples = [
            Example(row, (Turn("user", prompt),), answer.strip())
            for row, (prompt, answer) in enumerate(sides)
        ]
        items = self._pass.prepare(examples)
        found = np.full(len(items), np.nan)
        costs, groups = [item.cost for item in items], [item.group for item in items]
        for batch in plan_batches(costs, groups, self._pass.budget):
            output = self._pass.run([items[i] for i in batch])
            found[batch] = self._indicator.transform([examples[i] for i in batch], output)[:, 0]
        return found


def _verdict(first: float, second: float) -> Verdict:
    one, other = (-np.inf if np.isnan(reward) else reward for reward in (first, second))
    if one == other:
        return "tie"
    return "first" if one > other else "second"
