"""The rows that pool-dependent indicators compare with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.examples import Example
from instructmining.scoring.digests import unpack

if TYPE_CHECKING:
    from instructmining.scoring.rows import Source

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
    source : Source, optional
        Rows to choose from instead of the pool scored: those of the file, or of a larger
        pool of which only some rows are scored.
    size : int
        Rows of the sample.
    seed : int
        Seed of the sample.
    """

    kind: str = "sample"
    source: Source | None = None
    size: int = SAMPLE_SIZE
    seed: int = 0

    def choose(self, digests: np.ndarray, text_keys: np.ndarray) -> np.ndarray:
        """Return which rows are the reference, texts distinct.

        The sample is the rows whose seeded hashes are smallest: it depends on the texts,
        not on their order, and changes little when rows are added.

        Parameters
        ----------
        digests, text_keys : ndarray of `digests.DTYPE`, shape (n,)
            Content hash and `text_key` of every candidate.

        Returns
        -------
        ndarray of int64, shape (k,)
            Positions of the rows chosen: in the order of the candidates, those of a sample
            by their hashes.
        """
        _, first, text = np.unique(text_keys, return_index=True, return_inverse=True)
        # Of rows that differ in roles alone the last speaks for their common text.
        last = np.empty(len(first), dtype=np.int64)
        last[text] = np.arange(len(text))
        distinct = last[np.argsort(first)]
        if self.kind != "sample":
            return distinct
        lots = b"".join(map(self._lot, unpack(text_keys[distinct])))
        drawn = np.lexsort((digests[distinct], np.frombuffer(lots, dtype=">u8")))
        return distinct[drawn[: self.size]]

    def describe(self, digests: np.ndarray) -> dict[str, Any]:
        """Return what to record of the rows chosen, given their content hashes."""
        joined = "\n".join(sorted(unpack(digests)))
        digest = hashlib.sha256(joined.encode()).hexdigest()[:16]
        return {"kind": self.kind, "rows": len(digests), "seed": self.seed, "hash": digest}

    def _lot(self, key: str) -> bytes:
        return hashlib.blake2b(f"{self.seed}:{key}".encode(), digest_size=8).digest()
