"""Files that are either finished or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instructmining.errors import InputError

#: Appended to the name of an output for its manifest.
MANIFEST = ".manifest.json"


def check_target(path: Path) -> Path:
    """Refuse, before long work, a path that could not be written at its end.

    Parameters
    ----------
    path : Path
        Where a file shall stand.

    Returns
    -------
    Path
        The file it names: what a link points to is replaced, not the link.

    Raises
    ------
    InputError
        If `path` is a folder or a device, or nothing can be created where it stands.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "a device or pipe"
        raise InputError(f"{path}: is {what}, the name of a file was wanted; choose another")
    nearest = target.parent
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(
            f"{path}: cannot be written, {nearest} takes no files; choose another path"
        )
    return target


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there only if the block succeeds.

    Parameters
    ----------
    path : Path
        Where the finished file shall stand; missing parent folders are made.

    Raises
    ------
    InputError
        If `path` is a folder or a device, or the disk or the permissions refuse the writing.
    """
    temporary: Path | None = None
    try:
        target = check_target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "what stood there before is untouched; free space or choose another path"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _flush_to_disk(path: Path) -> None:
    # Without this a crash of the machine can leave the new name on an empty file.
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
