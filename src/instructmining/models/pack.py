"""Where sequences stand that are laid end to end in one row of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

# Sequences attended to side by side: the longest is at most so many times as long as the
# shortest, and so many tokens.
_SPREAD, _SLACK = 1.25, 16
# Padded to a multiple of this many tokens: a softmax over whole vectors takes half the time.
_VECTOR = 32


@dataclass(frozen=True)
class Pack:
    """Where each sequence stands in one row of tokens.

    Parameters
    ----------
    n_prefix : int
        Tokens at the front of the row that sequences may share; 0 if none does.
    parts : tuple of (start, stop, shares)
        The tokens of each sequence, without the prefix where it shares it.
    """

    n_prefix: int
    parts: tuple[tuple[int, int, bool], ...]

    @classmethod
    def of(cls, lengths: Sequence[int], shares: Sequence[bool], n_prefix: int) -> Pack:
        """Lay out sequences of `lengths` tokens, prefix included."""
        n_prefix = n_prefix if any(shares) else 0
        parts, start = [], n_prefix
        for length, sharing in zip(lengths, shares, strict=True):
            stop = start + length - (n_prefix if sharing else 0)
            parts.append((start, stop, bool(sharing)))
            start = stop
        return cls(n_prefix, tuple(parts))

    def positions(self) -> np.ndarray:
        """Position of every token in its own sequence: int64, shape (tokens,)."""
        rows = [np.arange(self.n_prefix)]
        for start, stop, sharing in self.parts:
            first = self.n_prefix if sharing else 0
            rows.append(np.arange(first, first + stop - start))
        return np.concatenate(rows)

    def gather(self, width: int) -> np.ndarray:
        """Where each token of a padded batch stands in the row: int64, (sequences, width)."""
        found = np.zeros((len(self.parts), width), dtype=np.int64)
        for row, (start, stop, sharing) in enumerate(self.parts):
            before = self.n_prefix if sharing else 0
            found[row, :before] = np.arange(before)
            found[row, before : before + stop - start] = np.arange(start, stop)
        return found

    @cached_property
    def groups(self) -> list[torch.Tensor]:
        """Sequences of similar length, each as `gather` lays it out: (sequences, width)."""
        return [torch.from_numpy(places) for _, places in self._grouped]

    @cached_property
    def back(self) -> torch.Tensor:
        """Where each token of the row stands in `groups` laid end to end: int64, (tokens,)."""
        found = np.empty(self.parts[-1][1], dtype=np.int64)
        start = 0
        for lengths, places in self._grouped:
            used = np.arange(places.shape[1]) < lengths[:, None]
            found[places[used]] = start + np.flatnonzero(used)
            start += places.size
        return torch.from_numpy(found)

    def ragged(self, known: int, device: torch.device) -> Ragged:
        """Lay out the queries and keys of every sequence, as kernels for ragged batches want them.

        Parameters
        ----------
        known : int
            Tokens of the prefix whose keys are there already: they ask nothing.
        device : torch.device
            Where to lay the numbers; moved there once for all layers.
        """
        if known not in self._laid:
            self._laid[known] = Ragged.of(self, known, device)
        return self._laid[known]

    @cached_property
    def _laid(self) -> dict[int, Ragged]:
        return {}

    @cached_property
    def _grouped(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lengths and places of the sequences, group by group."""
        lengths = np.array([stop - start for start, stop, _ in self.parts])
        lengths += [self.n_prefix if sharing else 0 for _, _, sharing in self.parts]
        groups: list[list[int]] = []
        for one in np.argsort(lengths, kind="stable"):
            if not groups or lengths[one] > _SPREAD * lengths[groups[-1][0]] + _SLACK:
                groups.append([])
            groups[-1].append(one)
        widths = [-(-int(lengths[group[-1]]) // _VECTOR) * _VECTOR for group in groups]
        places = self.gather(max(widths))
        return [
            (lengths[group], places[group, :width])
            for group, width in zip(groups, widths, strict=True)
        ]


@dataclass(frozen=True)
class Ragged:
    """Sequences of queries, and of the keys each attends to, laid end to end.

    Parameters
    ----------
    places : Tensor of int64, shape (keys,), or None
        Where each key stands in the row; None where the keys are the row.
    queries, keys : Tensor of int32, shape (sequences + 1,)
        Where each sequence of queries and of keys begins, and the last one ends.
    longest : (int, int)
        Tokens of the longest sequence of queries and of keys.
    """

    places: torch.Tensor | None
    queries: torch.Tensor
    keys: torch.Tensor
    longest: tuple[int, int]

    @classmethod
    def of(cls, pack: Pack, known: int, device: torch.device) -> Ragged:
        """Lay out the sequences of `pack`, the prefix first unless its keys are `known`."""
        n = pack.n_prefix
        shared = np.arange(n)
        asked, answering = ([n], [shared]) if n > known else ([], [])
        for start, stop, sharing in pack.parts:
            own = np.arange(start, stop)
            asked.append(stop - start)
            answering.append(np.concatenate([shared, own]) if sharing else own)
        held = [len(keys) for keys in answering]
        places = torch.from_numpy(np.concatenate(answering)).to(device) if n else None
        bounds = [
            torch.from_numpy(np.cumsum([0, *counts], dtype=np.int32)).to(device)
            for counts in (asked, held)
        ]
        return cls(places, bounds[0], bounds[1], (max(asked), max(held)))


def padded(flat: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Take rows of `flat` by place: shape of `places`, then that of a row."""
    return flat.index_select(0, places.flatten()).reshape(*places.shape, *flat.shape[1:])
