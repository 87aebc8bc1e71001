"""How natural, coherent and understandable an evaluator finds the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need, register
from instructmining.models.base import EvaluatorOutput


@register("unieval")
@dataclass(frozen=True)
class DialogueEvaluation(Indicator):
    """Naturalness, coherence and understandability of the response, asked of UniEval.

    The logit of "Yes" minus that of "No", and P(Yes) / (P(Yes) + P(No)), which is its
    logistic function and what UniEval and the paper call the score. For fluent text the
    probabilities crowd below 1; the logits keep such rows apart.

    Columns: ``nat``, ``coh``, ``und`` (logits), ``nat_p``, ``coh_p``, ``und_p``. Requires
    a UniEval model for dialogue. Undefined where the response has no tokens; coherence
    also where nothing stands before the response. Reference: paper, section 2 (Nat, Coh,
    Und); Zhong et al. 2022, "Towards a Unified Multi-Dimensional Evaluator for Text
    Generation" (EMNLP).
    """

    needs: ClassVar[Need | None] = Need("evaluator")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The logits, then the probabilities."""
        return (
            Column("nat", "logit Nat", "logit"),
            Column("coh", "logit Coh", "logit"),
            Column("und", "logit Und", "logit"),
            Column("nat_p", "Nat", "probability"),
            Column("coh_p", "Coh", "probability"),
            Column("und_p", "Und", "probability"),
        )

    def transform(self, examples: Sequence[Example], output: EvaluatorOutput) -> np.ndarray:
        """Return logits and probabilities, shape (n, 6)."""
        # An undefined logit is not worth a warning.
        with np.errstate(invalid="ignore"):
            probability = np.exp(-np.logaddexp(0.0, -output.logit))
        return np.hstack([output.logit, probability])
