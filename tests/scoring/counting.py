"""Passes that need no model: exact functions of the text, which note what they were asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.base import Need
from instructmining.models.base import CausalOutput, EncoderOutput, Item, TokenOutput


def draw(digest: str, n: int) -> np.ndarray:
    """Numbers in 0..1 that depend on the content alone."""
    drawn = hashlib.sha256(digest.encode()).digest()
    return np.frombuffer(drawn, dtype=np.uint8)[:n] / 255


def digest_of(item: Item) -> str:
    """The content hash, which these items carry as their token ids."""
    return item.payload[0].tobytes().hex()


@dataclass
class CountingPass:
    """Runs nothing; `ran` holds the content hashes of every batch."""

    kind: str
    options: frozenset[str] = frozenset()
    budget: int = 60
    model: str = "m"
    dtype: str = "float32"
    ran: list[list[str]] = field(default_factory=list)

    @property
    def definition(self) -> Mapping[str, Any]:
        return {"model": self.model}

    @property
    def recorded(self) -> Mapping[str, Any]:
        return {"dtype": self.dtype}

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        flagged = {"cut": ("truncated_prompt",), "refused": ("template_refused",)}
        return [
            Item(
                e.row,
                len(e.response.split()),
                "",
                (np.frombuffer(bytes.fromhex(e.digest), dtype=np.int32),),
                flagged.get(e.response.split()[0], ()),
            )
            for e in examples
        ]

    def run(self, given: Sequence[Any]) -> Any:
        if self.kind == "tokens":
            self.ran.append([e.digest for e in given])
            counts = [[len(e.prompt), len(e.response)] for e in given]
            return TokenOutput(*np.asarray(counts, dtype=np.int64).T)
        digests = [digest_of(item) for item in given]
        self.ran.append(digests)
        drawn = np.stack([draw(digest, 8) for digest in digests])
        if self.kind == "encoder":
            unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
            return EncoderOutput(unit.astype(np.float32))
        refused = np.asarray(["template_refused" in item.flags for item in given])
        nll = np.where(refused, np.nan, 1 + drawn[:, 0])
        return CausalOutput(nll, 1 + drawn[:, 1] if "alone" in self.options else None)


@dataclass
class CountingModels:
    """Builds counting passes; `built` holds one per kind that was asked for."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    built: dict[str, CountingPass] = field(default_factory=dict)

    def build(self, needs: Iterable[Need]) -> CountingPass:
        wanted = list(needs)
        (kind,) = {need.kind for need in wanted}
        options = frozenset().union(*(need.options for need in wanted))
        assert kind not in self.built or self.built[kind].options == options
        return self.built.setdefault(kind, CountingPass(kind, options, **self.settings))

    def rows(self, kind: str) -> list[str]:
        """Content hashes of all rows the pass of this kind has run, in order."""
        return [digest for batch in self.built[kind].ran for digest in batch]
