"""Objects of a store that share a prefix, as a folder."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from instructmining.errors import StoreError, first_line
from instructmining.folders.addresses import join_address
from instructmining.folders.base import Folder, ResultT

if TYPE_CHECKING:
    from typing_extensions import Self

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
        from instructmining.folders.opening import open_folder

        # A connection does not travel to another process; where it leads does.
        return open_folder, (self._where,)

    def below(self, name: str) -> Self:
        """Return the folder `name` in it."""
        return type(self)(self._files, f"{self._prefix}/{name}", join_address(self._where, name))

    def names(self, suffix: str) -> list[str]:
        """Return the names of all objects with this ending, sorted, each once."""
        from pyarrow.fs import FileType

        # A listing that spans changes may name an object twice.
        return sorted(
            {
                info.base_name
                for info in self._listing()
                if info.type == FileType.File and info.base_name.endswith(suffix)
            }
        )

    def _listing(self) -> list[Any]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._prefix, allow_not_found=True)
        found: list[Any] = self._asked("listed", lambda: self._files.get_file_info(selector))
        return found

    def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        from pyarrow.fs import FileType

        path = f"{self._prefix}/{name}"
        (info,) = self._asked("looked into", lambda: self._files.get_file_info([path]))
        return bool(info.type == FileType.File)

    def write(self, name: str, content: Any) -> None:
        """Upload an object, of bytes or a buffer; it is there when the upload is complete."""

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

    @contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """Give a copy in the folder for temporary files."""
        with TemporaryDirectory() as here:
            path = Path(here) / name
            if not self.download(name, path):
                raise StoreError(f"{self}/{name}: is not there; check the name, or make it first")
            yield path

    @contextmanager
    def placing(self, name: str) -> Iterator[Path]:
        """Give a path in the folder for temporary files; what lies there is then uploaded."""
        with TemporaryDirectory() as here:
            yield Path(here) / name
            written = sorted(Path(here).iterdir(), key=lambda path: (path.name == name, path.name))
            for path in written:
                self._upload(path)

    def _upload(self, path: Path) -> None:
        """Upload a file under its name, without reading it into memory first."""
        from pyarrow import memory_map

        # An empty file cannot be mapped.
        if not path.stat().st_size:
            self.write(path.name, b"")
            return
        with memory_map(str(path)) as mapped:
            self.write(path.name, mapped.read_buffer())

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
