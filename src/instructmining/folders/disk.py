"""A folder on a disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from instructmining.errors import StoreError
from instructmining.files import replacing
from instructmining.folders.base import ABANDONED, ResultT


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

    @contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """Give the file itself."""
        yield self.path / name

    @contextmanager
    def placing(self, name: str) -> Iterator[Path]:
        """Give the path the file has here."""
        yield self.path / name

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
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    @property
    def scratch(self) -> Path | None:
        """The folder itself: what is large should lie where there is room for it."""
        return self.path
