"""What scoring would run, as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert

if TYPE_CHECKING:
    from instructmining.scoring.forecast import Forecast, PassForecast

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def render_forecast(forecast: Forecast) -> RenderableType:
    """Show the passes in the order they would run, their models, and estimates of their cost."""
    table = Table("columns", box=box.SIMPLE)
    table.add_column("model", overflow="fold")
    for name in ("weights", "tokens", "memory", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in forecast.passes:
        table.add_row(*_row(one))
    total = f"all: {duration(forecast.seconds)}" if forecast.seconds is not None else "all: unknown"
    conditions = (
        f"{forecast.n_rows:,} rows; {forecast.device} in {forecast.dtype}, matrix products at "
        f"{forecast.rate / 1e9:,.0f} GFLOP/s just now; estimates within a factor of about two; "
        "rows the store holds are not run again, though counted here"
    )
    return Group(table, Text(total, style="bold"), Text(conditions))


def _row(one: PassForecast) -> list[Text]:
    model = "none" if one.model is None else one.model
    if one.size is not None and not one.size.here:
        model += " (to be fetched)"
    weights = "" if one.model is None else "unknown"
    if one.size is not None:
        weights = f"{one.size.parameters / 1e6:,.0f} M"
    tokens = f"{one.tokens / 1e6:,.2f} M" if one.tokens else ""
    memory = f"{one.memory / 1e9:,.1f} GB" if one.memory else ""
    time = "unknown" if one.seconds is None else duration(one.seconds) if one.seconds else ""
    cells = (", ".join(one.columns), model, weights, tokens, memory, time)
    return [inert(cell) for cell in cells]


def duration(seconds: float) -> str:
    """Write a duration in the unit it is best read in."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 3 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:,.1f} days"
