"""The resumable store of computed values: immutable shards, keyed by definition and content.

Layout: ``<store>/<indicator>-<key>/definition.json`` and ``<shard>.parquet`` beside it.
A shard is written whole, then renamed; it is never changed. Its name is the hash of the
rows it holds, so two workers that compute the same batch write the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from instructmining.errors import StoreError
from instructmining.files import replacing


@dataclass(frozen=True)
class Stored:
    """What a shelf holds.

    Parameters
    ----------
    position : dict
        Content hash to row of `values`.
    values : ndarray, shape (n, width)
        Stored values, NaN where undefined.
    flags : list of list of str
        Reason codes of each row.
    """

    position: Mapping[str, int]
    values: np.ndarray
    flags: Sequence[Sequence[str]]


class Shelf:
    """The shards of one set of columns under one definition and number format.

    Parameters
    ----------
    folder : Path
        Folder of the shelf.
    width : int or None
        Values per row; None to take it from what is appended or found.
    dtype : numpy dtype
        Number format of the values as stored.
    """

    def __init__(self, folder: Path, width: int | None, dtype: Any = np.float64) -> None:
        self.folder = folder
        self.width = width
        self.dtype = np.dtype(dtype)

    def append(
        self, digests: Sequence[str], values: np.ndarray, flags: Sequence[Sequence[str]]
    ) -> None:
        """Write one shard: all of it, or nothing."""
        flat = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1)
        width = len(flat) // len(digests)
        table = pa.table(
            {
                "example": pa.array(digests, pa.string()),
                "values": pa.FixedSizeListArray.from_arrays(pa.array(flat), width),
                "flags": pa.array([list(codes) for codes in flags], pa.list_(pa.string())),
            }
        )
        with replacing(self.folder / f"{_shard_name(digests)}.parquet") as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    def load(self) -> Stored:
        """Read all shards.

        Raises
        ------
        StoreError
            If a shard is damaged; it is named, so that it can be deleted and recomputed.
        """
        position: dict[str, int] = {}
        values: list[np.ndarray] = []
        flags: list[list[str]] = []
        for path in sorted(self.folder.glob("*.parquet")):
            table = self._read(path)
            block = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            block = block.reshape(table.num_rows, -1)
            digests, codes = table["example"].to_pylist(), table["flags"].to_pylist()
            # A row that two workers computed counts once, the first shard by name winning.
            fresh = [index for index, digest in enumerate(digests) if digest not in position]
            for index in fresh:
                position[digests[index]] = len(flags)
                flags.append(codes[index])
            values.append(block[fresh])
        if not values:
            values.append(np.empty((0, self.width or 0), dtype=self.dtype))
        return Stored(position, np.concatenate(values), flags)

    def _read(self, path: Path) -> pa.Table:
        try:
            # Through a handle: from a path Arrow may take folder names for columns.
            with path.open("rb") as handle:
                table = pq.read_table(handle, page_checksum_verification=True)
            self._check(table, path.stem)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"{path}: damaged shard ({reason}); delete the file, its rows are recomputed"
            ) from error
        return table

    def _check(self, table: pa.Table, name: str) -> None:
        """Refuse what page checksums do not cover: types, and rows lost."""
        if table.column_names != ["example", "values", "flags"]:
            raise ValueError(f"columns {table.column_names}")
        example, values, flags = table.schema.types
        if (example, flags) != (pa.string(), pa.list_(pa.string())):
            raise ValueError(f"examples of type {example}, flags of type {flags}")
        if not pa.types.is_fixed_size_list(values) or self.width not in (None, values.list_size):
            raise ValueError(f"values of type {values}")
        if values.value_type != pa.from_numpy_dtype(self.dtype):
            raise ValueError(f"values of type {values}")
        if name != _shard_name(table["example"].to_pylist()):
            raise ValueError("rows other than its name says")


def _shard_name(digests: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=12).hexdigest()


class Store:
    """A folder of shelves.

    Parameters
    ----------
    folder : Path
        Where the store lives; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def shelf(
        self,
        definition: Mapping[str, Any],
        recorded: Mapping[str, Any],
        width: int | None,
        dtype: Any = np.float64,
    ) -> Shelf:
        """Return the shelf of a definition and number format, noting both beside its shards."""
        note = json.dumps({"definition": definition, "recorded": recorded}, sort_keys=True)
        key = hashlib.sha256(note.encode()).hexdigest()[:16]
        folder = self.folder / f"{definition['indicator']}-{key}"
        path = folder / "definition.json"
        if not path.is_file():
            with replacing(path) as temporary:
                temporary.write_text(note + "\n", encoding="utf-8")
        return Shelf(folder, width, dtype)
