"""Pairs made here: a good response, and the same damaged or exchanged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.heads.sources import Good

from instructmining.examples import Turn
from instructmining.heads.damage import DAMAGES, damaged, spoken, swapped
from instructmining.heads.preferences import Preference

#: What is done to every good response, by how many of the kinds are drawn.
_DRAWN = (
    (("shuffle", "drop", "repeat", "insert", "substitute"), 2),
    (("typo", "grammar"), 1),
    (("splice",), 1),
)
#: Share of the prompts whose texts are all written as dialogue corpora are.
_SPOKEN = 0.5


@dataclass(frozen=True)
class Made:
    """A pair made here.

    Parameters
    ----------
    pair : Preference
        The good response, and the worse one.
    kind : str
        What was done: a name of `DAMAGES`, or ``"swap"``.
    group : str
        Hash of the prompt before it was written otherwise.
    """

    pair: Preference
    kind: str
    group: str

    @property
    def hurts(self) -> tuple[str, ...]:
        """The columns that fall."""
        return ("coh",) if self.kind == "swap" else DAMAGES[self.kind].hurts


def made_pairs(goods: Sequence[Good], seed: int = 0) -> list[Made]:
    """Make five pairs or fewer of every good response: four damaged, one exchanged."""
    rng = random.Random(seed)
    responses = [good.response for good in goods]
    groups = [good.group for good in goods]
    pairs: list[Made] = []
    for index, good in enumerate(goods):
        other = responses[swapped(index, responses, groups, rng)]
        worse: dict[str, str | None] = {"swap": other}
        for kinds, n in _DRAWN:
            for kind in rng.sample(kinds, n):
                worse[kind] = damaged(good.response, kind, rng, other)
        style = spoken if rng.random() < _SPOKEN else _as_it_is
        turns = tuple(Turn(turn.role, style(turn.content)) for turn in good.turns)
        better = style(good.response)
        for kind, text in worse.items():
            if text is not None and style(text) != better:
                pair = Preference(len(pairs), turns, better, style(text))
                pairs.append(Made(pair, kind, good.group))
    return pairs


def _as_it_is(text: str) -> str:
    return text
