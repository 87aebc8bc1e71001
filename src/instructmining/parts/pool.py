"""A pool in parts: files that a pattern names, each with its score table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

from instructmining.errors import InputError
from instructmining.folders import DiskFolder, Folder, open_folder
from instructmining.formats import Pool, open_pool
from instructmining.scoring.table import ScoreTable

#: Appended to the name of a part for its score table.
SCORES = ".scores.parquet"


@dataclass(frozen=True)
class Part:
    """One file of a pool.

    Parameters
    ----------
    name : str
        Its name, without the folder.
    address : str
        Path or address.
    scores : Folder
        Where its score table lies, called as the part with `SCORES` appended.
    reading : mapping
        How its records are read: ``format`` and ``columns``, see `formats.open_pool`.
    """

    name: str
    address: str
    scores: Folder
    reading: Mapping[str, Any]

    def open(self) -> Pool:
        """Open the part as a pool of its own."""
        return open_pool(self.address, **self.reading)

    def load_scores(self) -> ScoreTable:
        """Read the part's score table.

        Raises
        ------
        StoreError
            If there is none, or it cannot be read.
        """
        with _on_disk(self.scores, self.name + SCORES) as path:
            return ScoreTable.load(path)

    def save_scores(self, table: ScoreTable) -> None:
        """Write the part's score table where it is looked for."""
        put_file(self.scores, self.name + SCORES, table.save)


def list_parts(pattern: str | Path, scores: Folder, reading: Mapping[str, Any]) -> list[Part]:
    """Return the files a pattern names, sorted by name.

    Parameters
    ----------
    pattern : str or path
        A path or address whose last component holds ``*``, ``?`` or ``[…]``.
    scores : Folder
        Where their score tables lie, or will.
    reading : mapping
        As for `formats.open_pool`.

    Raises
    ------
    InputError
        If it names no file.
    """
    text = str(pattern)
    head, mark, query = text.partition("?") if "://" in text else (text, "", "")
    above, slash, wanted = head.rpartition("/")
    folder = open_folder(f"{above}{mark}{query}" if slash else ".")
    # Score tables and other artefacts may lie beside the files they belong to.
    names = [name for name in folder.names("") if _is_part(name, wanted)]
    if not names:
        raise InputError(f"{head}: no file has such a name; check the folder and the pattern")
    return [
        Part(name, f"{above}{slash}{name}{mark}{query}", scores, dict(reading)) for name in names
    ]


def _is_part(name: str, wanted: str) -> bool:
    artefact = name.endswith((SCORES, ".decisions.parquet", ".manifest.json"))
    return not artefact and fnmatchcase(name, wanted)


def put_file(folder: Folder, name: str, write: Callable[[Path], object]) -> None:
    """Let a file be written whole to a disk, and put it in a folder that may be elsewhere.

    Parameters
    ----------
    folder : Folder
        Where it goes.
    name : str
        Its name there.
    write : callable
        Writes it to a path that ends in that name.
    """
    if isinstance(folder, DiskFolder):
        write(folder.path / name)
        return
    with TemporaryDirectory() as here:
        path = Path(here) / name
        write(path)
        folder.write(name, path.read_bytes())


@contextmanager
def _on_disk(folder: Folder, name: str) -> Iterator[Path]:
    """Give a file of a folder as one on a disk."""
    if isinstance(folder, DiskFolder):
        yield folder.path / name
        return
    with NamedTemporaryFile(suffix=name) as copy:
        content = folder.read_with(name, lambda file: file.read())
        copy.write(content)
        copy.flush()
        yield Path(copy.name)


def same_definitions(parts: list[Part], definitions: list[Mapping[str, Any]]) -> None:
    """Refuse score tables whose columns are not defined alike.

    Raises
    ------
    InputError
        If a part's columns are defined otherwise than those of most.
    """
    seen = [repr(sorted(one.items())) for one in definitions]
    usual, _ = Counter(seen).most_common(1)[0]
    for part, found in zip(parts, seen, strict=True):
        if found != usual:
            raise InputError(
                f"{part.name}: its scores are defined otherwise than those of most parts; score "
                "all with the same models and options"
            )
