"""Parquet artefacts: a table, a note about it, and a hash over both that reading checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_NOTE = b"instructmining"
_SEAL = b"instructmining.sha256"


class UnreadableTable(ValueError):
    """Not a file, not Parquet, or not what was written; says which, on one line."""


class ForeignTable(ValueError):
    """A Parquet file without a note of ours."""


def write_table(frame: pl.DataFrame, path: Path, note: Mapping[str, Any]) -> None:
    """Write a table with a note, straight to `path`, one that `files.replacing` gave, say.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of integers, floats, booleans, strings, or lists of strings.
    path : Path
        Where to.
    note : mapping
        What JSON can hold.
    """
    text = json.dumps(note).encode()
    table = frame.to_arrow()
    metadata = {_NOTE: text, _SEAL: _seal(table, text)}
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)


def read_table(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read what `write_table` wrote, every value as it was written.

    Raises
    ------
    UnreadableTable
        If the file cannot be read as Parquet, or does not hold what was written. Files of
        versions that wrote no hash are taken as they are.
    ForeignTable
        If it carries no note.
    """
    try:
        # Through a handle: given a folder, Arrow would read whatever Parquet lies in it.
        with Path(path).open("rb") as handle:
            table = pq.read_table(handle, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        text = metadata.get(_NOTE)
        seal = metadata.get(_SEAL)
        intact = text is None or seal is None or seal == _seal(table, text)
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise UnreadableTable(" ".join(cause.split())) from error
    if text is None:
        raise ForeignTable("Parquet without a note of instructmining")
    if not intact:
        raise UnreadableTable("it does not hold what was written")
    try:
        note = json.loads(text)
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise ForeignTable("Parquet with a note that is not of instructmining")
    # Only now: a string that is no UTF-8 is more than Polars expects.
    return pl.DataFrame(pl.from_arrow(table)), note


def _seal(table: pa.Table, note: bytes) -> bytes:
    """SHA-256 over the note, and over names and values of all columns."""
    digest = hashlib.sha256(note)
    for name in table.column_names:
        digest.update(b"\0" + name.encode() + b"\0")
        for part in _parts(table[name].combine_chunks()):
            digest.update(memoryview(part))
    return digest.hexdigest().encode()


def _parts(values: Any) -> Iterator[Any]:
    """Yield what a column holds, in bytes that do not depend on how Arrow keeps it."""
    kind = values.type
    # What stands under a null is anything; the mask tells the two apart.
    yield values.is_null().cast(pa.uint8()).to_numpy(zero_copy_only=False)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield pc.fill_null(pc.list_value_length(values), 0).cast(pa.int64()).to_numpy()
        # Without what nulls may hide.
        yield from _parts(pc.list_flatten(values))
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind):
        yield np.ascontiguousarray(pc.fill_null(values, 0).to_numpy())
    elif pa.types.is_boolean(kind):
        yield pc.fill_null(values, False).cast(pa.uint8()).to_numpy()
    else:
        texts = pc.fill_null(values.cast(pa.large_binary()), b"")
        yield pc.binary_length(texts).to_numpy()
        _, offsets, data = texts.buffers()
        if data is not None:
            ends = np.frombuffer(offsets, dtype=np.int64)
            begin, end = ends[texts.offset], ends[texts.offset + len(texts)]
            yield data.slice(int(begin), int(end - begin))
