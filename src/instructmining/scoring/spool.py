"""Items of a whole pool: what batches are planned by in memory, token ids on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from instructmining.errors import StoreError
from instructmining.models.base import Item
from instructmining.models.batching import plan_batches
from instructmining.scoring.flags import FlagCodes


class Spool:
    """Holds the items of a pass between their tokenisation and their batch.

    The file has no name on systems that allow it, so that nothing of it outlives the
    process. It is read, not mapped: pages of a mapping would count as memory.

    Parameters
    ----------
    n : int
        Rows to come, each put at its position.
    folder : Path or None
        Where the file lies: token ids of a large pool may be more than a temporary folder
        in memory can take. None for the system's folder (``TMPDIR``).
    codes : FlagCodes
        Numbers the flags of items.
    """

    def __init__(self, n: int, folder: Path | None, codes: FlagCodes) -> None:
        self._codes = codes
        self._folder = folder
        self._groups: list[str] = []
        self._cost = np.zeros(n, dtype=np.int32)
        self._group = np.zeros(n, dtype=np.uint8)
        self._flags = np.zeros(n, dtype=np.int32)
        self._start = np.zeros(n, dtype=np.int64)
        self._size = np.zeros(n, dtype=np.int32)
        self._end = 0
        with self._explained():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What it could not take is flushed once more; nobody wants it any longer.
        with suppress(OSError):
            self._file.close()

    def put(self, position: int, item: Item, *, keep: bool = True) -> None:
        """Note an item; with `keep` its token ids too, so that it can be taken.

        Raises
        ------
        StoreError
            If the disk takes no more.
        """
        if item.group not in self._groups:
            self._groups.append(item.group)
        self._group[position] = self._groups.index(item.group)
        self._cost[position] = item.cost
        self._flags[position] = self._codes.code(item.flags)
        if not keep:
            return
        head = [item.row, len(item.payload), *map(len, item.payload)]
        record = np.concatenate([head, *item.payload]).astype(np.int32).tobytes()
        with self._explained():
            self._file.write(record)
        self._start[position] = self._end
        self._size[position] = len(record)
        self._end += len(record)

    def plan(self, budget: int) -> list[np.ndarray]:
        """Return the positions of each batch, see `models.batching.plan_batches`."""
        with self._explained():
            self._file.flush()
        # Numbered as their names sort: strings of a whole pool would take much memory.
        place = np.argsort(np.argsort(self._groups)).astype(np.uint8)
        groups = place[self._group] if len(place) else self._group
        return plan_batches(self._cost, groups, budget)

    def take(self, positions: Sequence[int] | np.ndarray) -> list[Item]:
        """Return the items at `positions`, which were kept."""
        return [self._item(int(position)) for position in positions]

    def flags(self, positions: np.ndarray) -> list[tuple[str, ...]]:
        """Return the flags of the items at `positions`."""
        return [self._codes.flags(code) for code in self._flags[positions].tolist()]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._folder or tempfile.gettempdir()}: cannot be written, token ids have to "
                f"wait there ({error.strerror or error}); free space or choose another "
                f"{'--store' if self._folder else 'TMPDIR'}"
            ) from error

    def _item(self, position: int) -> Item:
        self._file.seek(int(self._start[position]))
        record = np.frombuffer(self._file.read(int(self._size[position])), dtype=np.int32)
        row, n_parts, *sizes = record[: 2 + int(record[1])].tolist()
        ends = np.cumsum([2 + n_parts, *sizes])
        payload = tuple(record[start:end] for start, end in pairwise(ends))
        return Item(
            row,
            int(self._cost[position]),
            self._groups[self._group[position]],
            payload,
            self._codes.flags(int(self._flags[position])),
        )
