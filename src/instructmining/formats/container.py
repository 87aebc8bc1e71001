"""Where records stand: the contract of containers, and those made of raw byte slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from instructmining.errors import InputError
from instructmining.formats.compression import compression_of, opened

UTF8_BOM = b"\xef\xbb\xbf"

#: Endings a pool or an output can have, longest first.
_TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_PACKED = (".gz", ".zst")
SUFFIXES = (*(text + packed for text in _TEXT for packed in _PACKED), *_TEXT, ".parquet")


def suffix_of(path: Path) -> str:
    """Return the known ending of a file name in lower case, or ``""``."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def unpacked(suffix: str) -> str:
    """Return an ending without that of its compression."""
    return suffix.removesuffix(".gz").removesuffix(".zst")


def stem_of(path: Path) -> str:
    """Return the file name without its known ending."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.stem


@dataclass(frozen=True, slots=True)
class Record:
    """One record as its container gives it.

    Parameters
    ----------
    value : Any
        The parsed object; the text itself if it cannot be parsed.
    flags : tuple of str
        Codes of `FLAGS`, such as ``"malformed_record"``.
    problem : str
        What is wrong with it and at which column, for messages.
    """

    value: Any
    flags: tuple[str, ...] = ()
    problem: str = ""


class Container(ABC):
    """A sequence of records that can be streamed and written in part.

    Attributes
    ----------
    name : str
        Short name of the data, recorded as the source of its examples.
    label : str
        How messages call it: the path, the address or ``"memory"``.
    suffixes : tuple of str
        Endings of the outputs it writes in its own format.
    default : str
        Ending assumed for an output without a known one.
    hint : str
        What else to say when no shape is recognised.
    """

    name: str
    label: str
    suffixes: tuple[str, ...] = ()
    default: str = ".jsonl"
    hint: str = ""

    @abstractmethod
    def records(self) -> Generator[Record, None, None]:
        """Stream every record, in order."""

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the records at `rows`, in that order and exactly as they came, to `out`.

        Called for outputs with one of `suffixes` only; for others see `convert`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no format of its own")

    def picked(self, rows: Sequence[int]) -> Iterator[Record]:
        """Yield the records at `rows`, in that order.

        Rows in ascending order are streamed; in any other, those of `rows` are held.
        """
        with closing(self.records()) as records:
            yield from pick(records, rows, self.label)

    def values(self, rows: Sequence[int]) -> Iterator[Any]:
        """Yield the records at `rows`, in that order, as Python objects."""
        for record in self.picked(rows):
            yield record.value

    def like(self, rows: Sequence[int]) -> Any:
        """Return the records at `rows`, in that order, as the kind of object the source is."""
        return list(self.values(rows))


ItemT = TypeVar("ItemT")


def pick(every: Iterable[ItemT], rows: Sequence[int], label: str) -> Iterator[ItemT]:
    """Yield what stands at `rows` of a stream that is read once, in the order of `rows`.

    Raises
    ------
    InputError
        If the stream has no such row.
    """
    ascending = all(before < after for before, after in pairwise(rows))
    wanted = rows if ascending else sorted(set(rows))
    found = _ascending(every, wanted, label)
    if ascending:
        yield from found
    else:
        held = dict(zip(wanted, found, strict=True))
        yield from map(held.__getitem__, rows)


def _ascending(every: Iterable[ItemT], rows: Sequence[int], label: str) -> Iterator[ItemT]:
    due = iter(rows)
    wanted = next(due, None)
    if wanted is None:
        return
    count = 0
    for count, item in enumerate(every, start=1):
        if count - 1 == wanted:
            yield item
            wanted = next(due, None)
            if wanted is None:
                return
    check_rows([wanted], count, label)


class RawContainer(Container):
    """A file whose records are slices of bytes, written back byte for byte.

    Parameters
    ----------
    path : Path
        The file; gzip and Zstandard are recognised by their first bytes.

    Attributes
    ----------
    kinds : tuple of str
        Endings of its format, without those of a compression.
    """

    kinds: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = stem_of(path)
        self.label = str(path)
        self.compression = compression_of(path)
        self._source = SourceFile(path)
        self._writes(self.kinds)

    def _writes(self, kinds: tuple[str, ...]) -> None:
        packed = {"gzip": ".gz", "zstd": ".zst"}.get(self.compression, "")
        own = suffix_of(self.path)
        self.suffixes = (*kinds, *(kind + ending for kind in kinds for ending in _PACKED), own)
        self.default = kinds[0] + packed

    @abstractmethod
    def slices(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and the bytes of each record of the decompressed stream."""

    @abstractmethod
    def parse(self, raw: bytes) -> Record:
        """Read one slice."""

    def records(self) -> Generator[Record, None, None]:
        """Stream every record, in order."""
        with self._source.opened() as stream:
            for _, raw in self.slices(stream):
                yield self.parse(raw)

    def picked(self, rows: Sequence[int]) -> Iterator[Record]:
        """Yield the records at `rows`, in that order; no others are parsed."""
        return map(self.parse, self.raws(rows))

    def spans(self) -> array[int]:
        """Return start and end offset of every record, one after the other."""
        found = array("q")
        with self._source.opened() as stream:
            for offset, raw in self.slices(stream):
                found.append(offset)
                found.append(offset + len(raw))
        return found

    def raws(self, rows: Sequence[int], spans: array[int] | None = None) -> Iterator[bytes]:
        """Yield the bytes of the records at `rows`, in that order."""
        if self.compression:  # such a stream cannot be sought in
            with self._source.opened() as stream:
                yield from pick((raw for _, raw in self.slices(stream)), rows, self.label)
            return
        spans = self.spans() if spans is None else spans
        check_rows(rows, len(spans) // 2, self.label)
        with self._source.opened() as stream:
            for row in rows:
                start, end = spans[2 * row], spans[2 * row + 1]
                stream.seek(start)
                yield stream.read(end - start)


def check_rows(rows: Sequence[int], count: int, label: str) -> None:
    """Refuse rows that a pool of `count` records does not have."""
    for row in rows:
        if not 0 <= row < count:
            raise InputError(f"{label}: has no row {row}; rows run from 0 to {count - 1}")


def decode(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """Decode UTF-8; bytes that are not become U+FFFD and the flag ``undecodable_text``."""
    try:
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), ("undecodable_text",)


def is_object(value: Any) -> bool:
    """Whether a record is an object with named fields."""
    return isinstance(value, Mapping)


class SourceFile:
    """A file that must stay as it is while it serves as a pool: rows are positions in it.

    Parameters
    ----------
    path : Path
        The file; its size and time of change are noted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()

    def _look(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise unreadable(self._path, error) from error
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Refuse a file that was changed since."""
        if self._look() != self._stamp:
            raise InputError(
                f"{self._path}: was changed while it was being used, so rows no longer match; "
                "run again on the file as it is now"
            )

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Open the file, decompressed, if it is still the same."""
        self.check()
        return opened(self._path)


def unreadable(path: Path, error: OSError) -> InputError:
    """Turn a refusal of the operating system into one line."""
    return InputError(
        f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
    )
