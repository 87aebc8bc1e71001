"""What a page is made of, whatever it is about: plain data, in the order it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from instructmining.experiments.outcome import plain, save_sealed

#: Version of the layout of a page's data.
SCHEMA = 1


@dataclass(frozen=True)
class Tile:
    """One figure of a few that are read first: what, how much, and a word beside it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A small table, as it is printed.

    Parameters
    ----------
    columns : tuple of str
        Headings.
    rows : tuple of tuple of str
        Cells.
    numbers : tuple of int
        Columns that are aligned as numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A picture of numbers, and the same in words.

    Parameters
    ----------
    title : str
        What is shown.
    words : str
        What a reader who does not see it must know.
    spec : mapping
        Vega-Lite, its data under a name that stands in `Page.data`, or inline.
    table : Table or None
        Its numbers, where they are few.
    wide : bool
        Whether it takes the whole width.
    """

    title: str
    words: str
    spec: Mapping[str, Any]
    table: Table | None = None
    wide: bool = True


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Parameters
    ----------
    title, words : str
        Heading, and what stands below it.
    charts : tuple of Chart
        Pictures.
    tables : tuple of (str, Table)
        Tables with a caption each.
    key : str
        Its anchor.
    """

    key: str
    title: str
    words: str = ""
    charts: tuple[Chart, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()


@dataclass(frozen=True)
class Page:
    """Everything a page shows.

    Parameters
    ----------
    kind, title : str
        ``"select"`` and the like, and what the browser calls it.
    headline : str
        The result, in a sentence.
    notes : tuple of str
        What a reader must know.
    tiles : tuple of Tile
        The first figures.
    sections : tuple of Section
        In order.
    data : mapping
        Named data of charts, by column, and what the page's table of rows shows.
    provenance : mapping
        Whatever it was made from.
    """

    kind: str
    title: str
    headline: str
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the page as plain data; what is not known is None."""
        return plain({"schema": SCHEMA, **asdict(self)})

    def save(self, path: Path) -> None:
        """Write its data as sealed JSON; an existing file is replaced only by a whole one."""
        save_sealed(self.to_json(), path, indent=None)


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns, which take a third of the room."""
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}
