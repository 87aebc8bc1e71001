"""Reward and the UniEval dimensions from the run that gives the likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, Need, register
from instructmining.models.base import CausalOutput
from instructmining.models.heads import Head, HeadFile, load_heads

#: The columns heads can fill.
COLUMNS = {
    "rew": Column("rew", "Rew", "logit"),
    "nat": Column("nat", "Nat", "logit"),
    "coh": Column("coh", "Coh", "logit"),
    "und": Column("und", "Und", "logit"),
}


@register("head")
@dataclass(frozen=True)
class SmallHead(Indicator):
    """Logit of a small linear head on the language model's states over the response.

    Stands in for a model of its own where none is named: ``rew`` for a reward model,
    ``nat``, ``coh`` and ``und`` for UniEval. Its values are not theirs, and no rule fitted
    on theirs takes them.

    Columns: one of ``rew``, ``nat``, ``coh``, ``und``. Requires the causal language model
    the head was trained on. Undefined where the chat template refuses the turns or the
    response has no tokens. Reference: docs/heads.md.

    Parameters
    ----------
    column : str
        The column filled.
    file : str or None
        File of heads; None for the one that comes with the package.
    """

    column: str = "rew"
    file: str | None = None

    stands_in: ClassVar[bool] = True

    @classmethod
    def family(cls) -> list[Indicator]:
        """Return the heads that come with the package."""
        return [cls(column) for column in load_heads().heads]

    @cached_property
    def _file(self) -> HeadFile:
        return load_heads(self.file)

    @cached_property
    def _head(self) -> Head:
        heads = self._file.heads
        if self.column not in heads:
            raise InputError(
                f"{self.column}: no head for it in {self.file or 'the package'}, which has "
                f"{', '.join(heads)}; name a model or another file"
            )
        return heads[self.column]

    @property
    def needs(self) -> Need:  # type: ignore[override]
        """The states of the layers the head reads."""
        return Need("causal", frozenset(f"states:{layer}" for layer in self._head.layers))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The one column."""
        return (COLUMNS[self.column],)

    def definition(self, of_pass: Mapping[str, Any]) -> dict[str, Any]:
        """Return the head's hash and what the pass depends on.

        Raises
        ------
        InputError
            If the pass runs another model than the head was trained on.
        """
        weights = of_pass.get("weights", self._file.lm_weights)
        if weights != self._file.lm_weights:
            raise InputError(
                f"{self.column}: the small head reads the states of {self._file.lm}, not of "
                f"{of_pass['model']}; name a model for the column (--reward, --evaluator), "
                "train a head on this one, or leave the column out"
            )
        own = {"column": self.column, "head": self._head.hash}
        return {"indicator": self.name, "version": self.version, **own, **of_pass}

    def transform(self, examples: Sequence[Example], output: CausalOutput) -> np.ndarray:
        """Return the logit, shape (n, 1)."""
        return self._head.score(output.states)[:, None]
