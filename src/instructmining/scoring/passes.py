"""From what an indicator needs to the pass that gives it, and which model that runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from instructmining.indicators.base import Need
from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM, resolve


@dataclass
class Models:
    """The models of one scoring run, by name; each is resolved and loaded at most once.

    Parameters
    ----------
    lm : str
        Causal language model of ``nll``, ``ppl`` and ``ifd``, and tokenizer of lengths.
    encoder : str
        Sentence encoder of ``knn_i``.
    """

    lm: str = DEFAULT_LM
    encoder: str = DEFAULT_ENCODER
    _built: dict[Need, Any] = field(default_factory=dict, init=False, repr=False)

    def build(self, needs: Iterable[Need]) -> Any:
        """Return one pass that serves all `needs`, which are of one kind."""
        wanted = list(needs)
        merged = Need(wanted[0].kind, frozenset().union(*(need.options for need in wanted)))
        if merged not in self._built:
            self._built[merged] = self._make(merged)
        return self._built[merged]

    def _make(self, need: Need) -> Any:
        # torch and transformers are loaded here and not before.
        if need.kind == "tokens":
            from instructmining.models.tokens import TokenPass

            return TokenPass(resolve(self.lm))
        if need.kind == "causal":
            from instructmining.models.causal import CausalPass

            return CausalPass(resolve(self.lm), alone="alone" in need.options)
        if need.kind == "encoder":
            from instructmining.models.encoder import EncoderPass

            return EncoderPass(resolve(self.encoder))
        raise ValueError(f"no pass of kind {need.kind!r}")
