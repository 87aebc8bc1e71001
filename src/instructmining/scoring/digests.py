"""Content hashes as arrays: sixteen bytes a row, where a Python string takes eighty."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

#: Bytes of one content hash.
SIZE = 16
#: Hashes have one length, so that numpy's cutting of trailing zero bytes changes no comparison.
DTYPE = np.dtype(f"S{SIZE}")


def pack(digests: Iterable[str]) -> np.ndarray:
    """Return hexadecimal content hashes as an array of `DTYPE`, shape (n,)."""
    return from_bytes(bytes.fromhex("".join(digests)))


def from_bytes(raw: bytes | bytearray) -> np.ndarray:
    """Return the hashes that stand in `raw` one after the other, shape (n,)."""
    return np.frombuffer(raw, dtype=DTYPE) if raw else np.empty(0, dtype=DTYPE)


def unpack(digests: np.ndarray) -> list[str]:
    """Return the hashes in hexadecimal."""
    text = digests.tobytes().hex()
    return [text[start : start + 2 * SIZE] for start in range(0, len(text), 2 * SIZE)]


def as_series(digests: np.ndarray) -> pl.Series:
    """Return the hashes in hexadecimal as a column of strings."""
    offsets = np.arange(len(digests) + 1, dtype=np.int64) * (2 * SIZE)
    text = pa.py_buffer(digests.tobytes().hex().encode("ascii"))
    strings = pa.LargeStringArray.from_buffers(len(digests), pa.py_buffer(offsets), text)
    return pl.Series(values=strings, dtype=pl.String)


class Lookup:
    """Positions of content hashes among distinct ones.

    Parameters
    ----------
    digests : ndarray of `DTYPE`, shape (n,)
        Distinct hashes.
    """

    def __init__(self, digests: np.ndarray) -> None:
        self._order = np.argsort(digests, kind="stable")
        self._sorted = digests[self._order]
        # Numbers are found ten times faster than strings, and half a hash tells most apart.
        self._halves = _first_halves(self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Return the position of each hash, int64, shape (m,); -1 where it is not among them."""
        if not len(self):
            return np.full(len(digests), -1)
        halves = _first_halves(digests)
        place = np.minimum(np.searchsorted(self._halves, halves), len(self) - 1)
        unsure = np.flatnonzero((self._sorted[place] != digests) & (self._halves[place] == halves))
        among = np.searchsorted(self._sorted, digests[unsure])
        place[unsure] = np.minimum(among, len(self) - 1)
        return np.where(self._sorted[place] == digests, self._order[place], -1)


def _first_halves(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(">u8")[::2].astype(np.uint64)
