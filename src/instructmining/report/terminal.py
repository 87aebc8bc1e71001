"""Tables and numbers as the reports on rules and fits show them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert


def coefficient(value: float) -> str:
    """Write a coefficient with four significant digits and its sign."""
    return f"{value:+.4g}"


def interval(pair: tuple[float, float]) -> str:
    """Write both ends of an interval with three significant digits and their signs."""
    return f"{pair[0]:+.3g} … {pair[1]:+.3g}"


def plain(value: float | None) -> str:
    """Write a count whole, anything else with three decimals; a dash where not known."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def inflation(value: float | None) -> str:
    """Write a variance inflation factor; a dash where not known."""
    return "–" if value is None else f"{value:.1f}"


def table(*headers: str, right: tuple[int, ...] = ()) -> Table:
    """Make a table whose first column is never broken; columns of `right` are numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(headers):
        justify: JustifyMethod = "right" if index in right else "left"
        made.add_column(header, justify=justify, overflow="fold", no_wrap=index == 0)
    return made


def grid(rows: Iterable[tuple[str, str]]) -> Table:
    """Make a list of names and values."""
    made = Table.grid(padding=(0, 2))
    made.add_column()
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(inert(name, style="dim"), inert(value))
    return made


def notes(head: str, lines: Iterable[str]) -> list[RenderableType]:
    """List sentences below a head; nothing where there are none."""
    shown: list[RenderableType] = [Padding(inert(f"• {line}"), (0, 0, 0, 2)) for line in lines]
    return [Text(), Text(head, style="bold"), *shown] if shown else []
