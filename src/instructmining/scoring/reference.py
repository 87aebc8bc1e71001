"""The rows that pool-dependent indicators compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instructmining.examples import Example

#: Rows of the default reference: enough for a stable 6th neighbour, few enough that
#: distances do not shrink as pools grow.
SAMPLE_SIZE = 5_000


def text_key(example: Example) -> str:
    """Return a hash of the text embedded; rows that share it are not neighbours."""
    text = f"{example.prompt}\n{example.response}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class ReferenceSpec:
    """Which rows to compare with.

    Parameters
    ----------
    kind : str
        ``"sample"`` of the pool, the whole ``"pool"``, or the rows of a ``"file"``.
    examples : sequence of Example
        Rows to choose from instead of the pool scored: those of the file, or of a larger
        pool of which only some rows are scored.
    size : int
        Rows of the sample.
    seed : int
        Seed of the sample.
    """

    kind: str = "sample"
    examples: Sequence[Example] = ()
    size: int = SAMPLE_SIZE
    seed: int = 0

    def choose(self, pool: Sequence[Example]) -> list[Example]:
        """Return the reference rows, texts distinct.

        The sample is the rows whose seeded hashes are smallest: it depends on the texts,
        not on their order, and changes little when rows are added.
        """
        candidates = self.examples or pool
        distinct = list({text_key(e): e for e in candidates if e.scorable}.values())
        if self.kind != "sample":
            return distinct
        return sorted(distinct, key=self._lot)[: self.size]

    def describe(self, chosen: Sequence[Example]) -> dict[str, Any]:
        """Return what to record of the rows chosen."""
        joined = "\n".join(sorted(example.digest for example in chosen))
        digest = hashlib.sha256(joined.encode()).hexdigest()[:16]
        return {"kind": self.kind, "rows": len(chosen), "seed": self.seed, "hash": digest}

    def _lot(self, example: Example) -> tuple[bytes, str]:
        salted = f"{self.seed}:{text_key(example)}".encode()
        return hashlib.blake2b(salted, digest_size=8).digest(), example.digest
