"""Hand rows over to the tools that train on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructmining.api.scores import open_source
from instructmining.errors import InputError


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Parameters
    ----------
    files : tuple of Path
        The rows first, then what else the tool reads.
    left_out : tuple of int
        Rows without a response or a prompt, which nothing can be trained on.
    """

    files: tuple[Path, ...]
    left_out: tuple[int, ...]


def export(source: Any, target: str, output: Path | str) -> Exported:
    """Write rows in the form a training tool reads.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, DataFrame, Table, or Pool
        The rows, a selection say.
    target : str
        ``"messages"``, ``"trl"``, ``"llama-factory"`` or ``"axolotl"``; see `formats.exports`.
    output : path
        Where the rows go; what else the tool reads goes beside it.

    Raises
    ------
    InputError
        If the target is unknown, no row can be trained on, or a file cannot be read or written.
    """
    from instructmining.formats.exports import TARGETS, usable

    if target not in TARGETS:
        raise InputError(f"target {target!r} is not known; there are {', '.join(TARGETS)}")
    pool, path = open_source(source), Path(output)
    if pool.path is not None and path.resolve() == Path(pool.path).resolve():
        raise InputError(f"{path}: is the pool itself, which stays as it is; name another file")
    left_out: list[int] = []
    if next(usable(pool.examples(), []), None) is None:
        raise InputError(f"{pool.name}: no row has a prompt and a response; nothing to export")
    files = TARGETS[target].write(usable(pool.examples(), left_out), path)
    return Exported(tuple(files), tuple(left_out))
