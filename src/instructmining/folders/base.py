"""What a folder is, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

ResultT = TypeVar("ResultT")
#: Seconds after which an unfinished file has no writer any more.
ABANDONED = 86_400


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

    def on_disk(self, name: str) -> AbstractContextManager[Path]:
        """Give a file as one on a disk, while the context lasts.

        Raises
        ------
        StoreError
            If there is no such file, or it cannot be read.
        """

    def placing(self, name: str) -> AbstractContextManager[Path]:
        """Give a path on a disk to write the file `name` to, and others beside it.

        On leaving they go where they belong, the named one last; nothing does on an error.

        Raises
        ------
        StoreError
            If one cannot be sent.
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
