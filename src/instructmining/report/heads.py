"""Show what a head agrees with on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert


def render_heads(cards: Mapping[str, Any], lm: str, n_prompts: int) -> RenderableType:
    """Return heads with their agreement in cross-validation for printing with Rich.

    Parameters
    ----------
    cards : mapping
        From the column a head fills to its card.
    lm : str
        Name of the language model they read.
    n_prompts : int
        Different instructions they were trained on.
    """
    table = Table("head", "pairs left out of the training", box=box.SIMPLE)
    table.add_column("share, 95 % interval", justify="right", no_wrap=True)
    for column, card in cards.items():
        found = card.get("cross_validation")
        rows = _rows(found) if found else [("agreement unknown", "")]
        for number, (name, share) in enumerate(rows):
            table.add_row(inert(column) if number == 0 else "", name, share)
    model = f"reads the states of {lm}; trained on {n_prompts:,} instructions"
    return Group(table, inert(model), Text("Splits and intervals are by instruction."))


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"agrees with {found['n_pairs']:,} preferences", _interval(found["accuracy"])),
        ("so does preferring the longer response", _interval(found["longer"])),
        ("so does preferring the likelier one", _interval(found["likelier"])),
        ("gain over the best of these and their opposites", _interval(found["gain"], "+.3f")),
        (f"agrees with the {found['n_same_length']:,} of similar length", _near(found)),
    ]


def _near(found: Mapping[str, Any]) -> str:
    return _interval(found["same_length"]) if found["n_same_length"] else "none"


def _interval(found: Mapping[str, float], form: str = ".3f") -> str:
    value, low, high = (format(found[name], form) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
