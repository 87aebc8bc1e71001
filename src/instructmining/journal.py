"""JSON that knows whether it was changed: objects with a hash of themselves, and journals of them.

A journal is a file of such objects, one a line, to which lines are only ever added. A line is
written by a single call and flushed to the disk, so a crash can damage the last line only; what
is left of it is moved aside to ``<file>.torn`` and what it told of is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from instructmining.errors import ExperimentError

try:
    import fcntl
except ImportError:  # Windows has no flock; there one process at a time writes a journal.
    fcntl = None  # type: ignore[assignment]

#: Key under which the hash stands.
SEAL = "sha256"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the hash of the rest of it as its last key.

    Parameters
    ----------
    document : mapping
        What JSON can hold.
    """
    return {**document, SEAL: _hash(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Tell whether a document holds what it was sealed with.

    Spacing and order of keys do not matter. One without a seal was written by hand, or by a
    version that gave none, and counts as intact.
    """
    return SEAL not in document or document[SEAL] == _hash(document)


class Journal:
    """An append-only file of JSON objects, one a line, each told from the others by its key.

    Opening repairs a file whose last line was torn by a crash.

    Parameters
    ----------
    path : Path
        The file; it need not exist.

    Attributes
    ----------
    name, entry : str
        What messages call the file, and a line of it.
    key : str
        What tells one line from another.
    required : tuple of str
        What every line has, its key among them.

    Raises
    ------
    ExperimentError
        If `path` cannot be read or is no such file.
    """

    name: ClassVar[str]
    entry: ClassVar[str]
    key: ClassVar[str]
    required: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._keys: set[Any] = set()
        self._read_to = 0
        if self.path.exists():
            try:
                with _locked(self.path, os.O_RDWR) as handle:
                    self._repair(handle)
            except PermissionError:
                pass  # A log that may only be read stays as it is; `records` skips the tear.
            except OSError as error:
                raise self._failed("opened", error) from error

    @property
    def torn_path(self) -> Path:
        """Where torn lines are moved."""
        return self.path.with_name(self.path.name + ".torn")

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line; when this returns, it is on the disk.

        Raises
        ------
        ExperimentError
            If the record lacks a key, holds NaN or is in the file already, or if the disk or
            the permissions refuse the writing; the file is then as it was.
        """
        line = self._encode(record)
        if record[self.key] in self._known_keys():
            raise ExperimentError(
                f"{self.path}: {self.entry} {record[self.key]} is already logged; "
                f"a {self.entry} is logged once"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path, os.O_RDWR | os.O_CREAT) as handle:
                self._repair(handle)
                end = os.fstat(handle).st_size
                written = os.write(handle, line)
                if written < len(line):
                    os.ftruncate(handle, end)
                    raise OSError(f"{written} of {len(line)} bytes written; is the disk full?")
                os.fsync(handle)
        except OSError as error:
            raise self._failed("written", error) from error

    def records(self) -> list[dict[str, Any]]:
        """All lines, in the order they were logged.

        Raises
        ------
        ExperimentError
            If a line other than a torn last one is no such object, or was changed since.
        """
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise self._failed("read", error) from error
        lines = data.split(b"\n")
        last = max((i for i, line in enumerate(lines) if line.strip()), default=-1)
        found: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            record = self._decode(line)
            if record is not None:
                if not is_intact(record):
                    raise ExperimentError(
                        f"{self.path}: line {number + 1} was changed after it was written (its "
                        f"{SEAL} does not fit); restore it from a copy, or delete the line to do "
                        f"the {self.entry} again"
                    )
                record.pop(SEAL, None)
                found.append(record)
            elif number != last:
                raise ExperimentError(
                    f"{self.path}: line {number + 1} is not a {self.entry} (a JSON object with "
                    f"{', '.join(self.required)}); restore it from a copy or remove it"
                )
        return found

    def finished(self) -> set[str]:
        """Return the keys of the lines in the file."""
        return {record[self.key] for record in self.records()}

    def _known_keys(self) -> set[Any]:
        """Keys in the file; only what was added since the last look is read."""
        if not self.path.exists():
            return set()
        try:
            with self.path.open("rb") as handle:
                if os.fstat(handle.fileno()).st_size < self._read_to:  # another file by now
                    self._read_to = 0
                    self._keys.clear()
                handle.seek(self._read_to)
                new = handle.read()
        except OSError as error:
            raise self._failed("read", error) from error
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        records = (self._decode(line) for line in whole.split(b"\n") if line.strip())
        self._keys.update(record[self.key] for record in records if record is not None)
        return self._keys

    def _encode(self, record: Mapping[str, Any]) -> bytes:
        missing = [key for key in self.required if key not in record]
        if missing:
            raise ExperimentError(
                f"{self.path}: {self.entry} record lacks {', '.join(missing)}; add it"
            )
        try:
            text = json.dumps(sealed(record), allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise ExperimentError(
                f"{self.path}: {self.entry} {record[self.key]} cannot be logged as JSON ({error}); "
                "values must be finite numbers, strings, lists, dicts or null"
            ) from error
        return text.encode() + b"\n"

    def _repair(self, handle: int) -> None:
        data = _read_all(handle)
        body = data.rstrip(b"\n")
        start = body.rfind(b"\n") + 1
        tail = body[start:]
        if not tail.strip():
            return
        if self._decode(tail) is None:
            if not self._is_torn(body, tail):
                raise ExperimentError(
                    f"{self.path}: is not a {self.name} (one JSON object a line, with "
                    f"{', '.join(self.required)}); choose another file name"
                )
            self._set_aside(tail)
            os.ftruncate(handle, start)
            os.fsync(handle)
        elif not data.endswith(b"\n"):
            # Everything but the line's end reached the disk: nothing is lost.
            os.write(handle, b"\n")
            os.fsync(handle)

    def _set_aside(self, tail: bytes) -> None:
        with self.torn_path.open("ab") as torn:
            torn.write(tail + b"\n")
            torn.flush()
            os.fsync(torn.fileno())

    def _failed(self, what: str, error: OSError) -> ExperimentError:
        return ExperimentError(
            f"{self.path}: {self.name} cannot be {what} ({error.strerror or error}); "
            "free space, mend permissions or choose another path"
        )

    def _decode(self, line: bytes) -> dict[str, Any] | None:
        try:
            record = json.loads(line)
        except ValueError:
            return None
        if not isinstance(record, dict) or any(key not in record for key in self.required):
            return None
        return record

    def _is_torn(self, body: bytes, tail: bytes) -> bool:
        # Only the unfinished end of a real log may be cut, never a file given by mistake.
        with suppress(ValueError):
            json.loads(tail)
            return False
        if len(tail) < len(body):
            return self._decode(body.split(b"\n", 1)[0]) is not None
        return b'{"'.startswith(tail[:2]) or not tail.strip(b"\0")


def _hash(document: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    # The lock keeps a second process from taking a line still being written for a torn one.
    handle = os.open(path, flags | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read_all(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    blocks = []
    while block := os.read(handle, 1 << 20):
        blocks.append(block)
    return b"".join(blocks)
