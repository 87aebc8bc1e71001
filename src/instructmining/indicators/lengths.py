"""Lengths in tokens of a named tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need, register
from instructmining.models.base import TokenOutput


@register("len")
@dataclass(frozen=True)
class Length(Indicator):
    """Tokens of the prompt, of the response, and of both.

    Contents are counted, templates are not. A prompt may have none.

    Columns: ``len_in``, ``len_out``, ``len``. Requires a tokenizer. Undefined: never.
    Reference: paper, section 2 (Length; Len_in and Len_out in later versions).
    """

    needs: ClassVar[Need | None] = Need("tokens")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The three lengths."""
        return (
            Column("len_in", "Len_in", "tokens"),
            Column("len_out", "Len_out", "tokens"),
            Column("len", "Len", "tokens"),
        )

    def transform(self, examples: Sequence[Example], output: TokenOutput) -> np.ndarray:
        """Return prompt, response and total length, shape (n, 3)."""
        both = output.n_prompt + output.n_response
        return np.column_stack([output.n_prompt, output.n_response, both]).astype(np.float64)
