"""``instructmining explain``: why one row was kept or dropped."""

from __future__ import annotations

from pathlib import Path

import typer


def explain(
    decisions: Path = typer.Argument(
        ..., metavar="DECISIONS.parquet", help="Decisions written by `instructmining select`."
    ),
    row: int = typer.Argument(..., metavar="ROW", help="Row of the pool, counted from 0."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
) -> None:
    """Show why one row was kept or dropped, and what each column of the rule added."""
    from instructmining.selection.explain import explain as explain_row
    from instructmining.selection.select import load_decisions

    explanation = explain_row(*load_decisions(decisions), row)
    if as_json:
        import json

        typer.echo(json.dumps(explanation.to_json(), indent=2))
        return
    from rich.console import Console

    from instructmining.report.select import render_explanation

    Console().print(render_explanation(explanation))
