"""A folder of a file system elsewhere, HDFS say, which shows a file while it is written."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from instructmining.folders.objects import ObjectFolder

#: Begins the name of a file that is not finished, and ends it.
_BEGUN, _UNFINISHED = ".", ".tmp"
#: Age at which such a file has no writer any more.
_ABANDONED = timedelta(days=1)


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
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._prefix, allow_not_found=True)
        before = datetime.now(timezone.utc) - _ABANDONED
        for info in self._asked("listed", lambda: self._files.get_file_info(selector)):
            unfinished = info.base_name.startswith(_BEGUN) and info.base_name.endswith(_UNFINISHED)
            if unfinished and info.mtime and info.mtime < before:
                # Another process may sweep too.
                with suppress(OSError):
                    self._files.delete_file(info.path)
