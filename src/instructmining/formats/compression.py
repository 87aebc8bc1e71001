"""Byte streams that may be gzip or Zstandard, told by their first bytes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from instructmining.errors import InputError

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_CHUNK = 1 << 18


class _ZstdReader(io.RawIOBase):
    """Decompress frame after frame, and say so when the last one is cut off.

    The stream reader of `zstandard` ends silently in the middle of a frame.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            if self._frame.eof:
                compressed = self._frame.unused_data
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                self._begun = False
            else:
                compressed = b""
            compressed = compressed or self._source.read(_CHUNK)
            if not compressed:
                if self._begun:
                    raise EOFError("the last Zstandard frame is cut off")
                return 0
            self._begun = True
            self._ready = self._frame.decompress(compressed)
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def compression_of(path: Path) -> str:
    """Return ``"gzip"``, ``"zstd"`` or ``""``, from the first bytes of a file.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    with _explained(path), path.open("rb") as handle:
        head = handle.read(4)
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading and decompress it on the way.

    Raises
    ------
    InputError
        If the file cannot be opened, or is damaged where it is being read.
    """
    kind = compression_of(path)
    with _explained(path), ExitStack() as stack:
        handle = cast(BinaryIO, stack.enter_context(path.open("rb")))
        if kind == "gzip":
            unzipped = stack.enter_context(gzip.GzipFile(fileobj=handle, mode="rb"))
            yield cast(BinaryIO, unzipped)
        elif kind == "zstd":
            yield stack.enter_context(io.BufferedReader(_ZstdReader(handle), _CHUNK))
        else:
            yield handle


@contextmanager
def compressing(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    """Open a file for writing; a `suffix` ending in ``.gz`` or ``.zst`` compresses.

    The bytes written depend on the content alone: no time, no file name.
    """
    with ExitStack() as stack:
        handle = stack.enter_context(path.open("wb"))
        if suffix.endswith(".gz"):
            zipped = gzip.GzipFile(filename="", fileobj=handle, mode="wb", mtime=0)
            yield cast(IO[bytes], stack.enter_context(zipped))
        elif suffix.endswith(".zst"):
            yield stack.enter_context(zstandard.ZstdCompressor().stream_writer(handle))
        else:
            yield handle


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise InputError(
            f"{path}: the compressed file is cut off or damaged ({error}); fetch or pack it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "check the path and its permissions"
        ) from error
