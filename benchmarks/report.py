"""The table of a run: on the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Row, Spread

HEADER = ("what", "ours", "theirs", "ratio, median (min–max)", "agreement", "aim", "met")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells, in the order of `HEADER`."""
    theirs = f"{row.against}: {Spread.of(row.theirs)} {row.unit}" if row.theirs else row.against
    met = {True: "yes", False: "no", None: ""}[row.met]
    return (
        row.what,
        f"{Spread.of(row.ours)} {row.unit}",
        theirs or "–",
        str(Spread.of(row.ratios)) if row.ratios else "–",
        _agreement(row),
        _aim(row),
        met,
    )


def _agreement(row: Row) -> str:
    if row.agreement is None:
        return "–"
    return row.agreement.text if row.agreement.holds else f"DIFFER: {row.agreement.text}"


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    if row.aim.of == "ratio":
        return f"ratio ≥ {row.aim.bound:g}"
    return f"{'≥' if row.higher_is_better else '≤'} {row.aim.bound:g} {row.unit}"


def markdown(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """Return the table, its notes and the machine as Markdown."""
    lines = [_line(HEADER), "|" + "---|" * len(HEADER), *(_line(cells(row)) for row in rows)]
    described = "; ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([*lines, "", *notes(rows), f"Machine: {described}.", ""])


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what stands below the table, each note once."""
    always = "Values are medians over rounds, with the least and the greatest in brackets; "
    always += "a ratio above 1 is in favour of ours, taken round by round."
    return [always, *dict.fromkeys(row.note for row in rows if row.note)]


def document(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """Return every measured value as JSON."""
    found = [{**asdict(row), "ratios": row.ratios, "met": row.met} for row in rows]
    return json.dumps({"machine": dict(machine), "rows": found}, indent=2, ensure_ascii=False)


def show(rows: Sequence[Row], machine: Mapping[str, str], console: Console) -> None:
    """Print the table."""
    table = Table(show_lines=True)
    for name in HEADER:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table, markup=False)
    for text in notes(rows):
        console.print(text, markup=False, highlight=False)
    for name, value in machine.items():
        console.print(f"{name}: {value}", markup=False, highlight=False)


def write(rows: Sequence[Row], machine: Mapping[str, str], folder: Path) -> None:
    """Write ``bench.md`` and ``bench.json`` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(markdown(rows, machine), encoding="utf-8")
    (folder / "bench.json").write_text(document(rows, machine) + "\n", encoding="utf-8")
