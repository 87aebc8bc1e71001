"""Where a command's files go: a path, or an address in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructmining.errors import InputError
from instructmining.files import check_target
from instructmining.folders import join_address, open_folder, split_address


def check_destination(*outputs: str | Path | None) -> None:
    """Refuse what cannot be written to, before anything is computed.

    Raises
    ------
    InputError
        If one is no path of a file, and no address of one.
    """
    for output in outputs:
        if isinstance(output, str) and "://" in output:
            _split(output)
        elif output:
            check_target(Path(output))


@contextmanager
def placed(output: str) -> Iterator[Path]:
    """Yield a path to write to; what then lies beside it goes where `output` says.

    Files for an object store are written to the folder for temporary files and sent when all
    are whole, the one that was asked for last.
    """
    if "://" not in output:
        yield Path(output)
        return
    address, name = _split(output)
    with open_folder(address).placing(name) as path:
        yield path


def final_name(output: str, path: Path) -> str:
    """Return what a file that `placed` gave, or one beside it, is called where it goes."""
    if "://" not in output:
        return str(path)
    return join_address(_split(output)[0], path.name).partition("?")[0]


def _split(output: str) -> tuple[str, str]:
    """Return the address of the folder of a file, and the file's name."""
    folder, name = split_address(output)
    if not name or folder.partition("?")[0].endswith(":/"):
        raise InputError(
            f"--output {output}: no file is named; give an address such as s3://BUCKET/BEST.jsonl"
        )
    return folder, name
