"""``instructmining rules``: which rules there are, and what each says."""

from __future__ import annotations

from typing import Annotated

import typer


def rules(context: typer.Context) -> None:
    """List the rules that come with the package, or show one."""
    if context.invoked_subcommand is None:
        list_rules()


def list_rules() -> None:
    """List the rules that come with the package."""
    from rich.console import Console

    from instructmining.report.rules import render_rules
    from instructmining.rules import catalog

    Console().print(render_rules(catalog.load_rule(name) for name in catalog.list_rules()))


def show(
    rule: Annotated[str, typer.Argument(metavar="NAME", help="A rule's name, or its file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the rule as stored.")] = False,
) -> None:
    """Show one rule: coefficients, and where they come from."""
    from instructmining.rules.catalog import load_rule

    loaded = load_rule(rule)
    if as_json:
        import json

        document = loaded.document().to_json()
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from instructmining.report.rules import render_rule

    Console().print(render_rule(loaded))
