"""How much of a response is code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator

_FENCE = "```"


@dataclass(frozen=True)
class Fenced(Indicator):
    """Share of the lines with text that stand between fences of three backticks.

    Columns: ``fenced``. Requires nothing. Undefined where no line but fences has text.
    Reference: none.
    """

    reads_turns: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The share."""
        return (Column("fenced", "Fenced", "share of lines"),)

    def transform(self, examples: Sequence[Example], output: None) -> np.ndarray:
        """Return the share of each response, shape (n, 1); NaN where undefined."""
        return np.array([_share(one.response) for one in examples]).reshape(-1, 1)


def _share(response: str) -> float:
    inside, code, lines = False, 0, 0
    for line in map(str.strip, response.splitlines()):
        if line.startswith(_FENCE):
            inside = not inside
        elif line:
            code += inside
            lines += 1
    return code / lines if lines else float("nan")
