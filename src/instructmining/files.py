"""Files that are either finished or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instructmining.errors import InputError


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
        # What a link points to is replaced, not the link, as writing in place would do.
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            what = "a folder" if target.is_dir() else "a device or pipe"
            raise InputError(f"{path}: is {what}, the name of a file was wanted; choose another")
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
