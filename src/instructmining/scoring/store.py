"""The resumable store of computed values: immutable shards, keyed by definition and content.

Layout: ``<store>/<indicator>-<key>/definition.json`` and ``<shard>.parquet`` beside it.
A shard is written whole and never changed. Its name is the hash of the rows it holds, so two
workers that compute the same batch write the same file, and a listing that is late or names
one twice costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from instructmining.errors import StoreError, first_line
from instructmining.folders import Folder, open_folder
from instructmining.scoring.digests import Lookup, pack, unpack
from instructmining.scoring.flags import FlagCodes

#: Rows that are looked up at one time, or more where a shard has more.
_BLOCK = 1_024
#: Shards of one shelf that are many, and bytes of values that many are joined to.
_MANY = 4_096
_JOINED_BYTES = 1 << 24


@dataclass(frozen=True)
class Stored:
    """What a shelf holds of `n` rows asked for.

    Parameters
    ----------
    known : ndarray of bool, shape (n,)
        Whether each row is stored.
    values : ndarray, shape (n, width)
        Stored values, NaN where undefined; 0 in rows that are not stored.
    flags : ndarray of int32, shape (n,)
        Code of the flags of each row.
    """

    known: np.ndarray
    values: np.ndarray
    flags: np.ndarray


class Shelf:
    """The shards of one set of columns under one definition and number format.

    Parameters
    ----------
    folder : Folder
        Folder of the shelf.
    width : int or None
        Values per row; None to take it from what is appended or found.
    dtype : numpy dtype
        Number format of the values as stored.
    """

    def __init__(self, folder: Folder, width: int | None, dtype: Any = np.float64) -> None:
        self.folder = folder
        self.width = width
        self.dtype = np.dtype(dtype)

    def append(
        self, digests: Sequence[str], values: np.ndarray, flags: Sequence[Sequence[str]]
    ) -> None:
        """Write one shard: all of it, or nothing."""
        self._write(digests, values, pa.array([list(c) for c in flags], pa.list_(pa.string())))

    def _write(self, digests: Sequence[str], values: np.ndarray, flags: pa.Array) -> str:
        flat = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1)
        width = len(flat) // len(digests)
        table = pa.table(
            {
                "example": pa.array(digests, pa.string()),
                "values": pa.FixedSizeListArray.from_arrays(pa.array(flat), width),
                "flags": flags,
            }
        )
        content = io.BytesIO()
        pq.write_table(table, content, write_page_checksum=True)
        name = f"{_shard_name(digests)}.parquet"
        self.folder.write(name, content.getvalue())
        return name

    def load(self, rows: Lookup, codes: FlagCodes) -> Stored:
        """Read all shards; what they hold of other rows is passed over.

        Parameters
        ----------
        rows : Lookup
            Content hashes of the `n` rows wanted.
        codes : FlagCodes
            Numbers their flags.

        Raises
        ------
        StoreError
            If a shard is damaged; it is named, so that it can be deleted and recomputed.
        """
        known = np.zeros(len(rows), dtype=bool)
        flags = np.zeros(len(rows), dtype=np.int32)
        # Zeros take no memory before a row is written.
        values = np.zeros((len(rows), self.width or 0), dtype=self.dtype)
        for shard in self._blocks(_BLOCK):
            place = rows.find(shard.digests)
            fresh = np.flatnonzero(place >= 0)
            fresh = fresh[~known[place[fresh]]]
            # A row that two workers computed counts once, the first shard by name winning: of
            # several assignments to one place the last one stays.
            fresh = fresh[::-1]
            if values.shape[1] != shard.values.shape[1]:
                values = np.zeros((len(rows), shard.values.shape[1]), dtype=self.dtype)
            values[place[fresh]] = shard.values[fresh]
            flags[place[fresh]] = _flag_codes(shard.flags, codes)[fresh]
            known[place[fresh]] = True
        return Stored(known, values, flags)

    def compact(self, most: int = _MANY) -> int:
        """Join small shards where there are many: each costs a listing and a reading.

        A shard joined is one like any other, written before those it replaces are removed, so
        that killing this loses nothing. Whoever reads meanwhile looks again.

        Parameters
        ----------
        most : int
            Shards at least to do so.

        Returns
        -------
        int
            Shards removed.

        Raises
        ------
        StoreError
            If a shard is damaged.
        """
        if len(self.folder.names(".parquet")) < most:
            return 0
        removed = 0
        row_bytes = self.dtype.itemsize * (self.width or 1_024)
        for shard in self._blocks(max(_BLOCK, _JOINED_BYTES // row_bytes)):
            if len(shard.names) == 1:
                continue
            # The first of two values of a row counts, as when they are loaded.
            _, first = np.unique(shard.digests, return_index=True)
            kept = np.sort(first)
            flags = shard.flags.take(pa.array(kept))
            name = self._write(unpack(shard.digests[kept]), shard.values[kept], flags)
            old = [one for one in shard.names if one != name]
            self.folder.remove(old)
            removed += len(old)
        return removed

    def _blocks(self, n_rows: int) -> Iterator[_Shard]:
        """Yield all shards in the order of their names, small ones up to `n_rows` at a time."""
        held: list[_Shard] = []
        n_held = 0
        for shard in self._shards():
            held.append(shard)
            n_held += len(shard.digests)
            if n_held >= n_rows:
                yield _joined(held)
                held, n_held = [], 0
        if held:
            yield _joined(held)

    def _shards(self) -> Iterator[_Shard]:
        """Yield all shards; those that were joined to others meanwhile, as a part of these."""
        seen: set[str] = set()
        while names := [name for name in self.folder.names(".parquet") if name not in seen]:
            seen.update(names)
            gone = False
            for name, content in zip(names, self.folder.read_all(names), strict=True):
                if content is None:
                    gone = True
                    continue
                try:
                    yield self._read(name, content)
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise StoreError(
                        f"{self.folder.below(name)}: damaged shard ({first_line(error)}); "
                        "delete the file, its rows are recomputed"
                    ) from error
            if not gone:
                return

    def _read(self, name: str, content: bytes) -> _Shard:
        # Threads cost more than they bring where thousands of shards hold few rows each.
        file = pq.ParquetFile(
            pa.BufferReader(content), pre_buffer=False, page_checksum_verification=True
        )
        return self._check(file.read(use_threads=False), name)

    def _check(self, table: pa.Table, name: str) -> _Shard:
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
        digests = table["example"].to_pylist()
        if name != f"{_shard_name(digests)}.parquet":
            raise ValueError("rows other than its name says")
        flat = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        flags = table["flags"].combine_chunks()
        return _Shard((name,), pack(digests), flat.reshape(table.num_rows, -1), flags)


@dataclass(frozen=True)
class _Shard:
    """Files, and their rows: packed hashes, values of shape (n, width), flags as Arrow lists."""

    names: tuple[str, ...]
    digests: np.ndarray
    values: np.ndarray
    flags: pa.Array


def _joined(shards: Sequence[_Shard]) -> _Shard:
    return _Shard(
        tuple(name for shard in shards for name in shard.names),
        np.concatenate([shard.digests for shard in shards]),
        np.concatenate([shard.values for shard in shards]),
        pa.concat_arrays([shard.flags for shard in shards]),
    )


def _flag_codes(flags: pa.Array, codes: FlagCodes) -> np.ndarray:
    found = np.zeros(len(flags), dtype=np.int32)
    lengths = pc.fill_null(pc.list_value_length(flags), 0).to_numpy()
    flagged = np.flatnonzero(lengths)
    if len(flagged):
        found[flagged] = [codes.code(each) for each in flags.take(flagged).to_pylist()]
    return found


def _shard_name(digests: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=12).hexdigest()


class Store:
    """A folder of shelves.

    Parameters
    ----------
    folder : path or str
        Where the store lives, made when first written to: a path, or the address of an object
        store as `folders.open_folder` reads it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = open_folder(folder)

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
        folder = self.folder.below(f"{definition['indicator']}-{key}")
        if not folder.has("definition.json"):
            folder.write("definition.json", f"{note}\n".encode())
        folder.sweep()
        return Shelf(folder, width, dtype)
