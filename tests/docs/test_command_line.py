"""docs/cli.md is what its generator gives of the command line there is."""

from __future__ import annotations

import typer

from docs.test_commands import ROOT
from docs.test_indicators import load
from instructmining.cli.main import app

generate = load(ROOT / "docs" / "cli" / "generate.py")


def test_the_page_is_what_the_generator_gives():
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(app), (
        f"docs/cli.md is out of date; run `{generate.COMMAND}` and look at what changed"
    )


def test_arguments_options_choices_and_defaults_are_said():
    small = typer.Typer()

    @small.command()
    def weigh(
        pool: str = typer.Argument(help="What to weigh."),
        unit: str | None = typer.Option(None, metavar="UNIT|NAME", help="In which unit."),
        times: int = typer.Option(3, "--times", "-t", help="How often."),
        output: str = typer.Option(help="Where to."),
    ) -> None:
        """Weigh a pool."""

    @small.command()
    def other() -> None:
        """Do nothing."""

    text = generate.page(small)

    assert "## instructmining weigh\n\nWeigh a pool." in text
    assert "instructmining weigh POOL --output TEXT [OPTIONS]\n" in text
    assert "| `POOL` | What to weigh. |" in text
    assert r"| `--unit` | `UNIT\|NAME` |  | In which unit. |" in text
    assert "| `--times`, `-t` | `N` | `3` | How often. |" in text
    assert "| `--output` | `TEXT` | required | Where to. |" in text
    assert text.endswith("Do nothing.\n\n```text\ninstructmining other\n```\n")
