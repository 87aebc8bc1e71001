"""A pool in parts: files that a pattern names, each with its score table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from instructmining.errors import InputError
from instructmining.files import MANIFEST
from instructmining.folders import Folder, join_address, open_folder, split_address
from instructmining.formats import Pool, open_pool
from instructmining.scoring.table import ScoreTable
from instructmining.selection.select import DECISIONS

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
        with self.scores.on_disk(self.name + SCORES) as path:
            return ScoreTable.load(path)

    def save_scores(self, table: ScoreTable) -> None:
        """Write the part's score table where it is looked for."""
        with self.scores.placing(self.name + SCORES) as path:
            table.save(path)


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
    above, wanted = split_address(str(pattern))
    # Score tables and other artefacts may lie beside the files they belong to.
    folder = open_folder(above or ".")
    names = [name for name in folder.names("") if _is_part(name, wanted)]
    if not names:
        raise InputError(
            f"{folder}/{wanted}: no file has such a name; check the folder and the pattern"
        )
    return [Part(name, join_address(above, name), scores, dict(reading)) for name in names]


def _is_part(name: str, wanted: str) -> bool:
    artefact = name.endswith((SCORES, DECISIONS, MANIFEST))
    return not artefact and fnmatchcase(name, wanted)


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
