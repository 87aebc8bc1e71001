"""How likely a language model finds the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need, register
from instructmining.models.base import CausalOutput


@register("nll")
@dataclass(frozen=True)
class Likelihood(Indicator):
    """Mean negative log-likelihood of the response given the prompt, and its exponential.

    The end-of-turn token is not counted.

    Columns: ``nll``, ``ppl``. Requires a causal language model. Undefined where the
    chat template refuses the turns or the response has no tokens. Reference: paper,
    section 2 (Perplexity).
    """

    needs: ClassVar[Need | None] = Need("causal")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Likelihood and perplexity."""
        return (Column("nll", "log PPL", "nats per token"), Column("ppl", "PPL", "1"))

    def transform(self, examples: Sequence[Example], output: CausalOutput) -> np.ndarray:
        """Return ``nll`` and ``ppl``, shape (n, 2)."""
        return np.column_stack([output.nll, np.exp(output.nll)])


@register("ifd")
@dataclass(frozen=True)
class InstructionFollowingDifficulty(Indicator):
    """Response NLL given the prompt over response NLL after begin-of-sequence alone.

    A ratio of mean log-likelihoods; Superfiltering takes the ratio of perplexities
    instead. Below 1 the prompt helps the model to the response; above 1 it hinders.

    Columns: ``ifd``. Requires a causal language model run twice. Undefined where the
    chat template refuses the turns, the response has no tokens or is certain without its
    prompt.
    Reference: Li et al. 2024, "From Quantity to Quality" (NAACL).
    """

    needs: ClassVar[Need | None] = Need("causal", frozenset({"alone"}))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The ratio."""
        return (Column("ifd", "IFD", "1"),)

    def transform(self, examples: Sequence[Example], output: CausalOutput) -> np.ndarray:
        """Return ``ifd``, shape (n, 1)."""
        if output.nll_alone is None:
            raise ValueError("the causal pass was run without its unconditional half")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(output.nll_alone > 0, output.nll / output.nll_alone, np.nan)
        return ratio[:, None]
