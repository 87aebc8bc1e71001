"""Files of an object store, copied here for as long as the process lives."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from instructmining.errors import InputError, StoreError
from instructmining.folders import DiskFolder, ObjectFolder, open_folder, split_address


def is_address(source: str) -> bool:
    """Whether a source is named as an object store names its files."""
    return "://" in source


def local_path(source: str | Path) -> Path:
    """Return where a file lies on a disk, once it was copied there if it has to be."""
    return fetched(str(source)) if is_address(str(source)) else Path(source)


@cache
def fetched(address: str) -> Path:
    """Copy the file at an address to the folder for temporary files; return where.

    A pool is read several times, which a disk does better.

    Parameters
    ----------
    address : str
        As `folders.open_folder` reads them, of a file.

    Raises
    ------
    InputError
        If there is no such file or it cannot be read.
    """
    head, (parent, name) = address.partition("?")[0], split_address(address)
    folder = open_folder(parent)
    if isinstance(folder, DiskFolder):
        return folder.path / name
    if not isinstance(folder, ObjectFolder) or not name:
        raise InputError(
            f"{head}: no file is named; give an address such as s3://BUCKET/POOL.jsonl"
        )
    target = _place() / name
    try:
        found = folder.download(name, target)
    except StoreError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(
            f"{head}: cannot be copied to {target.parent} ({error.strerror or error}); "
            "free space or set TMPDIR to a larger folder"
        ) from error
    if not found:
        raise InputError(f"{head}: there is no such file; check bucket and name")
    return target


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _place() -> Path:
    # A folder for each, as names may be alike; removed when the process ends.
    _kept.append(tempfile.TemporaryDirectory(prefix="instructmining-"))
    return Path(_kept[-1].name)
