"""How good a reward model finds the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need, register
from instructmining.models.base import RewardOutput


@register("rew")
@dataclass(frozen=True)
class Reward(Indicator):
    """Logit of a reward model for the whole conversation: higher is better.

    It is unbounded and of a scale of its own for every model, so a rule fitted with one
    reward model says nothing of another's values.

    Columns: ``rew``. Requires a reward model. Undefined where the chat template refuses
    the turns or the response has no tokens. Reference: paper, section 2 (Reward score).
    """

    needs: ClassVar[Need | None] = Need("reward")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The reward."""
        return (Column("rew", "Rew", "logit"),)

    def transform(self, examples: Sequence[Example], output: RewardOutput) -> np.ndarray:
        """Return ``rew``, shape (n, 1)."""
        return output.reward[:, None]
