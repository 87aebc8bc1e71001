"""A folder of a file system elsewhere, HDFS say, which shows a file while it is written."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from instructmining.folders.base import ABANDONED
from instructmining.folders.objects import ObjectFolder

#: Begins the name of a file that is not finished, and ends it.
_BEGUN, _UNFINISHED = ".", ".tmp"


class HierarchyFolder(ObjectFolder):
    """A folder whose files are written beside their names and moved, as on a disk.

    Parameters
    ----------
    files : pyarrow.fs.FileSystem
        It has folders, and moves a file in one step, over another if there is one.
    prefix, where : str
        As for `ObjectFolder`.
    """

    def names(self, suffix: str) -> list[str]:
        """Return the names of all finished files with this ending, sorted."""
        return [name for name in super().names(suffix) if not name.startswith(_BEGUN)]

    def write(self, name: str, content: Any) -> None:
        """Write a file beside its name and move it there."""
        begun = f"{self._prefix}/{_BEGUN}{name}.{uuid4().hex}{_UNFINISHED}"

        def put() -> None:
            self._files.create_dir(self._prefix, recursive=True)
            with self._files.open_output_stream(begun) as stream:
                stream.write(content)
            self._files.move(begun, f"{self._prefix}/{name}")

        try:
            self._asked("written", put)
        except BaseException:
            with suppress(OSError):
                self._files.delete_file(begun)
            raise

    def remove_all(self) -> None:
        """Remove the folder with its files."""
        with suppress(FileNotFoundError):
            self._asked("cleared", lambda: self._files.delete_dir(self._prefix))

    def sweep(self) -> None:
        """Remove unfinished files a day old: one is written in moments."""
        for info in self._listing():
            name = info.base_name
            # A file system that does not tell ages gives nothing to sweep by.
            if not (name.startswith(_BEGUN) and name.endswith(_UNFINISHED)) or not info.mtime:
                continue
            if time.time() - info.mtime.timestamp() > ABANDONED:
                # Another process may sweep too.
                with suppress(OSError):
                    self._files.delete_file(info.path)
