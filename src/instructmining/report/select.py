"""Show a selection, or one row of it, on a terminal.

Texts from the data are wrapped in `rich.text.Text` after their control characters were
spelled out: neither Rich markup nor a terminal's escape sequences in a row have any effect.
Nothing is told by colour alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from instructmining.report.summary import (
    IndicatorSummary,
    RowPreview,
    SelectSummary,
    Spread,
    one_line,
)
from instructmining.selection.explain import Explanation

#: Groups of a quota that have a line of their own.
_SHOWN_GROUPS = 20

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
#: Marks that reorder the text around them; joiners, which scripts and emoji need, stay.
_BIDIRECTIONAL = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def inert(text: str, style: str = "") -> Text:
    r"""Return text that shows as it is written, control characters as ``\x1b`` or ``\u202e``.

    Line breaks and tabs are spelled out too: collapse them first where that is not wanted.
    """
    return Text("".join(_spelled(character) for character in text), style=style)


def number(value: float | None) -> str:
    """Write a number with about four digits, grouped; a dash where undefined."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-3:
        return f"{value:.2e}"
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 100 else 2 if size >= 10 else 3}f}"


def render_summary(summary: SelectSummary) -> RenderableType:
    """Return the summary of a selection for printing with Rich, for 80 columns and more."""
    parts: list[RenderableType] = [inert(summary.headline, style="bold")]
    parts += [_note(note) for note in _warnings(summary)]
    parts += [Text(), _counts(summary)]
    if summary.groups:
        title = f"Budget by {one_line(summary.quota or '', 40)}"
        parts += [*_section(title, _groups(summary))[1:], Text()]
    if summary.longest is not None and summary.n_kept:
        overlap = summary.longest
        parts.append(
            Text(
                f"Keeping the {overlap.n:,} longest responses instead would have kept "
                f"{overlap.shared:,} of these rows ({overlap.share:.0%})."
            )
        )
    if summary.indicators:
        title = "Indicators, pool against selection (* read by the rule)"
        parts += _section(title, _indicators(summary.indicators))
    if summary.best:
        parts += _rows(f"Lowest predicted {summary.quantity}", summary.best, summary.quantity)
    if summary.worst:
        parts += _rows(f"Highest predicted {summary.quantity}", summary.worst, summary.quantity)
    return Group(*parts)


def render_explanation(explanation: Explanation) -> RenderableType:
    """Return the explanation of one row for printing with Rich."""
    parts: list[RenderableType] = [
        inert(f"Row {explanation.row}. {explanation.sentence}", style="bold"),
        inert(f"Rule {explanation.rule}; predicts {explanation.quantity}, lower is better."),
    ]
    if explanation.flags:
        parts.append(inert(f"Flags: {', '.join(explanation.flags)}"))
    parts += [_note(note) for note in explanation.notes]
    if explanation.predicted is None and not explanation.contributions:
        return Group(*parts)
    table = _table()
    for heading in ("column", "value", "adds"):
        table.add_column(heading, justify="left" if heading == "column" else "right")
    table.add_row("at the pool's mean", "", _signed(explanation.pool_mean, plus=False))
    for part in explanation.contributions:
        table.add_row(inert(part.column), number(part.value), _signed(part.contribution))
    table.add_section()
    table.add_row("this row", "", _signed(explanation.predicted, plus=False))
    return Group(*parts, *_section(f"Predicted {explanation.quantity}, column by column", table))


def _spelled(character: str) -> str:
    if character in _BIDIRECTIONAL or unicodedata.category(character) in _HIDDEN:
        return ascii(character)[1:-1]
    return character


def _warnings(summary: SelectSummary) -> Sequence[str]:
    pilot = "pilot" in (summary.status.lower(), *summary.rule.lower().split("-"))
    caution = "the rule is a pilot: fitted on few runs, not yet shown to beat random choice"
    return (*((caution,) if pilot else ()), *summary.notes)


def _note(note: str) -> RenderableType:
    return inert(f"note: {one_line(note, 1000)}", style="italic")


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def _counts(summary: SelectSummary) -> RenderableType:
    """Lay what became of the rows, and their flags, one under the other."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("pool", f"{summary.n_pool:,}", "rows")
    table.add_row("scored", f"{summary.n_scored:,}", f"{summary.n_unscored:,} without a score")
    table.add_row("duplicates", f"{summary.n_duplicates:,}", "exact copies of an earlier row")
    table.add_row("flagged", f"{summary.n_flagged:,}", _listed(summary.flags))
    table.add_row("kept", f"{summary.n_kept:,}", "")
    table.add_row(
        "dropped",
        f"{summary.n_pool - summary.n_kept:,}",
        _listed({k: n for k, n in summary.reasons.items() if k != "selected"}),
    )
    return Padding(table, (0, 0, 1, 0))


def _groups(summary: SelectSummary) -> Table:
    """Lay out the largest groups, and the others as one line."""
    ordered = sorted(summary.groups, key=lambda one: -one.n_pool)
    unit = "tokens" if summary.budget.get("kind") == "tokens" else "rows"
    table = _table()
    table.add_column("group", overflow="fold")
    for heading in ("pool", "share", f"{unit}\ngiven", f"{unit}\nused", "rows\nkept"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = [(_group_name(one.name), [one]) for one in ordered[:_SHOWN_GROUPS]]
    if others := ordered[_SHOWN_GROUPS:]:
        shown.append((f"{len(others):,} smaller groups", others))
    for name, members in shown:
        table.add_row(
            inert(name),
            f"{sum(one.n_pool for one in members):,}",
            f"{sum(one.weight for one in members):.1%}",
            *(
                f"{sum(getattr(one, part) for one in members):,}"
                for part in ("share", "spent", "n_kept")
            ),
        )
    return table


def _group_name(name: str | None) -> str:
    return "(none)" if name is None else one_line(name, 24)


def _listed(counts: Mapping[str, int]) -> Text:
    return inert(", ".join(f"{name} {count:,}" for name, count in counts.items()))


def _indicators(indicators: Sequence[IndicatorSummary]) -> Table:
    counted = any(indicator.out_of_range is not None for indicator in indicators)
    table = _table()
    table.add_column("indicator", overflow="fold")
    table.add_column("rows")
    for heading in ("min", "q25", "median", "q75", "max", "null"):
        table.add_column(heading, justify="right", no_wrap=True)
    if counted:
        table.add_column("outside\nfit", justify="right")
    for one in indicators:
        outside = "–" if one.out_of_range is None else f"{one.out_of_range:,}"
        name = inert(one.column + ("*" if one.in_rule else ""))
        table.add_row(name, "pool", *_cells(one.pool), *([outside] if counted else []))
        table.add_row("", "kept", *_cells(one.selection), *([""] if counted else []))
    return table


def _cells(spread: Spread) -> tuple[str, ...]:
    points = (spread.minimum, spread.q25, spread.median, spread.q75, spread.maximum)
    return (*(number(point) for point in points), f"{spread.n_null:,}")


def _section(title: str, table: Table) -> tuple[RenderableType, ...]:
    return Text(), inert(title, style="bold"), table


def _all(rows: Sequence[RowPreview]) -> str:
    verdicts = {_verdict(one) for one in rows}
    return f" (all {verdicts.pop()})" if len(verdicts) == 1 else ""


def _verdict(row: RowPreview) -> str:
    return "kept" if row.kept else "dropped"


def _rows(title: str, rows: Sequence[RowPreview], quantity: str) -> tuple[RenderableType, ...]:
    table = _table()
    table.expand = True
    table.add_column("row", justify="right", no_wrap=True)
    mixed = not _all(rows)
    if mixed:
        table.add_column("", no_wrap=True)
    table.add_column(quantity, justify="right", no_wrap=True)
    table.add_column("prompt", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("response", ratio=1, no_wrap=True, overflow="ellipsis")
    for one in rows:
        table.add_row(
            str(one.row),
            *([_verdict(one)] if mixed else []),
            _signed(one.predicted, plus=False),
            inert(one.prompt),
            inert(one.response),
        )
    return _section(title + _all(rows), table)


def _signed(value: float | None, *, plus: bool = True) -> str:
    if value is None:
        return "–"
    return f"{value:+.4f}" if plus else f"{value:.4f}"
