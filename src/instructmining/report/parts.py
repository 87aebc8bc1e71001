"""Show a selection from a pool in parts on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.parts.select import PartsSelection
from instructmining.report.select import inert
from instructmining.selection.explain import predicted_quantity, rule_label

#: Parts that have a line of their own.
_SHOWN = 20


def render_parts(selection: PartsSelection, pool: str) -> RenderableType:
    """Return what was kept of which part, for printing with Rich.

    Parameters
    ----------
    selection : PartsSelection
        What was kept.
    pool : str
        What the pool is called.
    """
    facts = selection.facts
    headline = (
        f"Kept {selection.n_kept:,} of {selection.n_rows:,} rows of {pool}: the lowest "
        f"{predicted_quantity(facts)} predicted by rule {rule_label(facts)}, budget "
        f"{facts['budget']['text']}."
    )
    notes = [inert(f"note: {note}", style="italic") for note in _notes(selection)]
    return Group(inert(headline, style="bold"), *notes, Text(), _table(selection))


def _notes(selection: PartsSelection) -> list[str]:
    facts = selection.facts
    return [*facts["notes"], *facts["mismatches"]]


def _table(selection: PartsSelection) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("part", overflow="fold")
    for heading in ("rows", "kept", "not kept"):
        table.add_column(heading, justify="left" if heading == "not kept" else "right")
    ordered = sorted(selection.parts, key=lambda one: -one.n_rows)
    for part in ordered[:_SHOWN]:
        table.add_row(inert(part.name), *_figures(part.n_rows, part.n_kept, part.reasons))
    if others := ordered[_SHOWN:]:
        rows, kept = sum(one.n_rows for one in others), sum(one.n_kept for one in others)
        table.add_row(f"{len(others):,} smaller parts", *_figures(rows, kept, {}))
    table.add_row("all", *_figures(selection.n_rows, selection.n_kept, selection.reasons))
    return table


def _figures(rows: int, kept: int, reasons: dict[str, int]) -> tuple[str, str, str]:
    others = ", ".join(f"{why} {n:,}" for why, n in reasons.items() if why != "selected")
    return f"{rows:,}", f"{kept:,}", others
