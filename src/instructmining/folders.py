"""Folders of small files that are written whole, on a disk or in an object store.

A file is finished or not there: on a disk it is written beside its name and moved; in an
object store an upload becomes an object when it is complete, which is the same without a
move. What a killed writer had begun there is never listed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from instructmining.errors import InputError, StoreError, first_line
from instructmining.files import replacing

#: Seconds after which a temporary file has no writer any more.
_ABANDONED = 86_400
#: Requests under way where each takes its time.
_AT_ONCE = 16
#: Times a request is made before a server that is out of service is believed.
_ATTEMPTS = 10
#: Seconds between two of them at most.
_LONGEST_WAIT = 5.0
#: Bytes that are copied at one time.
_PIECE = 1 << 22
#: What asking again does not mend.
_HOPELESS = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "NO_SUCH_KEY")
#: What would be written into manifests and logs with the address.
_SECRETS = {"access_key", "secret_key", "session_token"}

ResultT = TypeVar("ResultT")


class Folder(Protocol):
    """Files by name; a name holds no slash."""

    def __str__(self) -> str:
        """Return where it lies, as a user would give it."""

    def below(self, name: str) -> Folder:
        """Return the folder `name` in it."""

    def names(self, suffix: str) -> list[str]:
        """Return the names of all finished files with this ending, sorted, each once."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file: all of it, or nothing.

        Raises
        ------
        InputError, StoreError
            If it cannot be written.
        """

    def read_all(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Yield what each file holds, in order; None where it is there no more.

        Raises
        ------
        StoreError
            If one cannot be read.
        """

    def read_with(self, name: str, read: Callable[[Any], ResultT]) -> ResultT:
        """Return what `read` makes of an open file, which it may read here and there.

        Raises
        ------
        StoreError
            If there is no such file, or it cannot be read.
        """

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, where they are still there."""

    def remove_all(self) -> None:
        """Remove every file, and the folder itself where it is one."""

    def sweep(self) -> None:
        """Remove what killed writers left."""

    @property
    def scratch(self) -> Path | None:
        """A folder on a disk for what need not outlive the process; None for the system's."""


class DiskFolder:
    """A folder on a disk, made when first written to.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def below(self, name: str) -> DiskFolder:
        """Return the folder `name` in it."""
        return DiskFolder(self.path / name)

    def names(self, suffix: str) -> list[str]:
        """Return the names of all finished files with this ending, sorted."""
        if not self.path.is_dir():
            return []
        with os.scandir(self.path) as entries:
            found = (entry.name for entry in entries)
            return sorted(n for n in found if n.endswith(suffix) and not n.startswith("."))

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.path / name).is_file()

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside its name and move it there."""
        with replacing(self.path / name) as temporary:
            temporary.write_bytes(content)

    def read_all(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Yield what each file holds, in order; None where it is there no more."""
        for name in names:
            try:
                yield (self.path / name).read_bytes()
            except FileNotFoundError:
                yield None
            except OSError as error:
                raise StoreError(
                    f"{self.path / name}: cannot be read ({error.strerror or error}); "
                    "mend that, or delete it, its rows are recomputed"
                ) from error

    def read_with(self, name: str, read: Callable[[Any], ResultT]) -> ResultT:
        """Return what `read` makes of an open file."""
        try:
            with (self.path / name).open("rb") as file:
                return read(file)
        except OSError as error:
            raise StoreError(
                f"{self.path / name}: cannot be read ({error.strerror or error}); run again"
            ) from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, where they are still there and the disk allows it."""
        for name in names:
            with suppress(OSError):
                (self.path / name).unlink()

    def remove_all(self) -> None:
        """Remove the folder with its files, as far as the disk allows it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove temporary files a day old: one is written in moments."""
        for path in self.path.glob(".*.tmp"):
            # Another process may sweep too, and a store that is only read stays as it is.
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    @property
    def scratch(self) -> Path | None:
        """The folder itself: what is large should lie where there is room for it."""
        return self.path


class ObjectFolder:
    """Objects of a store that share a prefix.

    Parameters
    ----------
    files : pyarrow.fs.FileSystem
        The store.
    prefix : str
        Bucket and prefix.
    where : str
        The same as a user would give it.
    """

    def __init__(self, files: Any, prefix: str, where: str) -> None:
        self._files, self._prefix, self._where = files, prefix.rstrip("/"), where.rstrip("/")

    def __str__(self) -> str:
        return self._where.partition("?")[0]

    def __reduce__(self) -> tuple[Callable[[str], Folder], tuple[str]]:
        # A connection does not travel to another process; where it leads does.
        return open_folder, (self._where,)

    def below(self, name: str) -> ObjectFolder:
        """Return the folder `name` in it."""
        return ObjectFolder(self._files, f"{self._prefix}/{name}", join_address(self._where, name))

    def names(self, suffix: str) -> list[str]:
        """Return the names of all objects with this ending, sorted, each once."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._prefix, allow_not_found=True)
        found = self._asked("listed", lambda: self._files.get_file_info(selector))
        # A listing that spans changes may name an object twice.
        return sorted(
            {
                info.base_name
                for info in found
                if info.type == FileType.File and info.base_name.endswith(suffix)
            }
        )

    def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        from pyarrow.fs import FileType

        path = f"{self._prefix}/{name}"
        (info,) = self._asked("looked into", lambda: self._files.get_file_info([path]))
        return bool(info.type == FileType.File)

    def write(self, name: str, content: bytes) -> None:
        """Upload an object; it is there when the upload is complete."""

        def upload() -> None:
            # Written by one call: what is closed, even by an interruption, is whole.
            with self._files.open_output_stream(f"{self._prefix}/{name}") as stream:
                stream.write(content)

        self._asked("written", upload)

    def read_all(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Yield what each object holds, in order; several are fetched at one time."""
        left = iter(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            coming: deque[Future[bytes | None]] = deque(
                pool.submit(self._read, name) for name in islice(left, 2 * _AT_ONCE)
            )
            while coming:
                content = coming.popleft().result()
                coming.extend(pool.submit(self._read, name) for name in islice(left, 1))
                yield content

    def read_with(self, name: str, read: Callable[[Any], ResultT]) -> ResultT:
        """Return what `read` makes of an open object, of which it may fetch pieces."""

        def opened() -> ResultT:
            with self._files.open_input_file(f"{self._prefix}/{name}") as file:
                return read(file)

        try:
            return self._asked("read", opened)
        except FileNotFoundError as error:
            raise StoreError(f"{self}/{name}: is not there; run again") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, where they are still there."""
        for name in names:
            with suppress(FileNotFoundError):
                self._asked("cleared", partial(self._files.delete_file, f"{self._prefix}/{name}"))

    def remove_all(self) -> None:
        """Remove every object below the prefix."""
        self.remove(self.names(""))

    def _read(self, name: str) -> bytes | None:
        def fetch() -> bytes | None:
            try:
                with self._files.open_input_stream(f"{self._prefix}/{name}") as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
            return content

        return self._asked("read", fetch)

    def download(self, name: str, target: Path) -> bool:
        """Copy an object to a file, a piece at a time; return whether there was one.

        Raises
        ------
        StoreError
            If it cannot be read to its end.
        """

        def copy() -> bool:
            try:
                with (
                    self._files.open_input_stream(f"{self._prefix}/{name}") as stream,
                    target.open("wb") as file,
                ):
                    shutil.copyfileobj(stream, file, _PIECE)
            except FileNotFoundError:
                return False
            return True

        return self._asked("read", copy)

    def sweep(self) -> None:
        """Do nothing: an upload that was cut off is no object."""

    @property
    def scratch(self) -> Path | None:
        """None: there is no disk here."""
        return None

    def _asked(self, what: str, ask: Callable[[], ResultT]) -> ResultT:
        """Ask again where the store is out of service.

        PyArrow does so itself for some requests, but not where the answer to a read was an
        error: it does not fit into the few bytes that were wanted, and the read fails.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return ask()
            except FileNotFoundError:
                raise
            except OSError as error:
                hopeless = isinstance(error, PermissionError) or any(
                    code in str(error) for code in _HOPELESS
                )
                if hopeless or attempt == _ATTEMPTS - 1:
                    raise StoreError(
                        f"{self}: cannot be {what} ({first_line(error)}); check address, "
                        "credentials and connection, then run again: what is stored stays"
                    ) from error
            time.sleep(min(_LONGEST_WAIT, 0.1 * 2**attempt))
        raise AssertionError


def split_address(address: str) -> tuple[str, str]:
    """Return the address of the folder of a file, or its path, and the file's name."""
    head, mark, query = address.partition("?") if "://" in address else (address, "", "")
    above, _, name = head.rpartition("/")
    return f"{above}{mark}{query}", name


def join_address(folder: str, name: str) -> str:
    """Return the address, or the path, of what is called `name` in a folder."""
    head, mark, query = folder.partition("?") if "://" in folder else (folder, "", "")
    return f"{head.rstrip('/')}/{name}{mark}{query}" if head else name


def open_folder(where: str | Path) -> Folder:
    """Return a folder by its path or address.

    Parameters
    ----------
    where : str or path
        A path, or ``s3://BUCKET/PREFIX`` (credentials as usual for AWS; for other servers
        ``?endpoint_override=HOST:PORT&scheme=http``), ``gs://``, ``abfs://``, ``hdfs://``, as
        PyArrow reads addresses.

    Raises
    ------
    InputError
        If the address is of no known kind.
    """
    text = str(where)
    if "://" not in text:
        return DiskFolder(Path(text))
    from pyarrow.fs import FileSystem

    try:
        if text.startswith("s3://"):
            files, prefix = _s3(text)
        else:
            files, prefix = FileSystem.from_uri(text)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{text}: no folder or object store ({first_line(error)}); give a path, or an address "
            "such as s3://BUCKET/PREFIX"
        ) from error
    return ObjectFolder(files, prefix, text)


def _s3(text: str) -> tuple[Any, str]:
    # Not `from_uri`, which makes three requests of what is small.
    from pyarrow.fs import S3FileSystem

    parts = urlsplit(text)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if not parts.netloc:
        raise ValueError("no bucket is named")
    if _SECRETS & {*options}:
        raise ValueError("credentials do not belong in an address; set AWS_ACCESS_KEY_ID and so on")
    return S3FileSystem(allow_delayed_open=True, **options), f"{parts.netloc}{parts.path}"
