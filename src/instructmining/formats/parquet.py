"""Parquet files: streamed in batches, written back with schema and codec unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from instructmining.errors import InputError, first_line
from instructmining.formats.arrow import ArrowContainer
from instructmining.formats.container import SourceFile, stem_of, suffix_of

_BATCH = 4096
_CODECS = ("snappy", "gzip", "brotli", "zstd", "lz4")


class Parquet(ArrowContainer):
    """One ``.parquet`` file."""

    default = ".parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = SourceFile(path)
        self.name = stem_of(path)
        self.label = str(path)
        self.suffixes = (".parquet", suffix_of(path))
        with self._explained(), pq.ParquetFile(path) as file:
            self._schema = file.schema_arrow
            self.codec = _codec(file.metadata)

    @property
    def schema(self) -> pa.Schema:
        """Schema of the file, metadata included."""
        return self._schema

    def tables(self) -> Iterator[pa.Table]:
        """Stream the file in batches of a few thousand rows."""
        self._source.check()
        with self._explained(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield pa.Table.from_batches([batch])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.path}: cannot be read as Parquet ({first_line(error)}); "
                "the file is damaged or cut off: fetch or write it again"
            ) from error


def _codec(metadata: pq.FileMetaData) -> str:
    if not metadata.num_row_groups or not metadata.num_columns:
        return "snappy"
    name = metadata.row_group(0).column(0).compression.lower()
    if name == "uncompressed":
        return "none"
    return name if name in _CODECS else "snappy"
