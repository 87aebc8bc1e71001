"""Show what a head agrees with on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert

_LEGEND = (
    "Pairs: share in which the better response scores higher; ratings: rank correlation. "
    "Splits and intervals are by instruction or context."
)
#: What a head's agreement is shown beside.
_BASELINES = ("longer", "likelier")


def render_heads(cards: Mapping[str, Any], lm: str, n_prompts: int) -> RenderableType:
    """Return heads with what they agree with for printing with Rich.

    Parameters
    ----------
    cards : mapping
        From the column a head fills to its card.
    lm : str
        Name of the language model they read.
    n_prompts : int
        Different instructions they were trained on.
    """
    table = Table("head", "agreement", box=box.SIMPLE)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for column, card in cards.items():
        for number, (name, share) in enumerate(_agreement(card)):
            table.add_row(inert(column) if number == 0 else "", inert(name), share)
    model = f"reads the states of {lm}; trained on {n_prompts:,} instructions"
    return Group(table, inert(model), Text(_LEGEND))


def _agreement(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what is known: people's judgements, else preferences left out of the training."""
    if card.get("judgements"):
        return [
            (_shown(one), _interval(one))
            for one in card["judgements"]
            if one["score"] in ("head", *_BASELINES)
        ]
    found = card.get("cross_validation")
    return _rows(found) if found else [("unknown", "")]


def _shown(one: Mapping[str, Any]) -> str:
    judged = f"{one['judged_by']} ({one['n']:,})"
    return judged if one["score"] == "head" else f"  {one['score']}"


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"preferences left out of the training ({found['n_pairs']:,})",
            _interval(found["accuracy"]),
        ),
        ("  longer", _interval(found["longer"])),
        ("  likelier", _interval(found["likelier"])),
        ("  gain over the best of these and their opposites", _interval(found["gain"], "+.3f")),
        (f"of these, of similar length ({found['n_same_length']:,})", _near(found)),
    ]


def _near(found: Mapping[str, Any]) -> str:
    return _interval(found["same_length"]) if found["n_same_length"] else "none"


def _interval(found: Mapping[str, float], form: str = ".3f") -> str:
    value, low, high = (format(found[name], form) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
