"""The card of a data set of exported rows: how they were chosen, in Markdown."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from instructmining.report.select import number
from instructmining.report.summary import SelectSummary, Spread


def card_head(name: str, file: str) -> str:
    """Return what a new card begins with: which file holds the rows, and a title.

    No licence is among the metadata; it is the owner's to choose.
    """
    return "\n".join(
        [
            "---",
            "configs:",
            "- config_name: default",
            f"  data_files: {json.dumps(file)}",
            "tags:",
            "- instruction-tuning",
            "- instructmining",
            "---",
            "",
            f"# {_inert(name)}",
        ]
    )


def card_body(
    source: str,
    n_rows: int,
    target: str,
    summary: SelectSummary | None,
    commands: Sequence[Sequence[str]],
) -> str:
    """Return what a card says of exported rows.

    Parameters
    ----------
    source : str
        Name of what was exported.
    n_rows : int
        Rows exported.
    target : str
        Form they are in.
    summary : SelectSummary or None
        What the selection came to; None where the rows are none that is known.
    commands : sequence of commands
        Command lines, each as its words, in the order they were run. Of absolute paths only
        the name is shown: folders of one machine are no one else's business.
    """
    parts = [f"{n_rows:,} rows of {_inert(source)}, in the form `{target}`."]
    if summary is None:
        parts.append("How they were chosen is not known: no decisions stood beside them.")
    else:
        parts += _chosen(summary)
    if commands:
        parts += ["## Commands", _fenced("\n".join(map(_shown, commands)))]
    parts.append(
        "No licence is stated here: the rows have that of their source, which the owner of this "
        "data set has to name."
    )
    return "\n\n".join(parts)


def _chosen(summary: SelectSummary) -> list[str]:
    notes = [f"- {_inert(note)}" for note in summary.notes]
    facts = {
        "Rule": summary.rule_label,
        "Budget": str(summary.budget.get("text", "unknown")),
        "Rows of the pool": f"{summary.n_pool:,}",
        "Rows scored": f"{summary.n_scored:,}",
        "Exact copies set aside": f"{summary.n_duplicates:,}",
        "Rows kept": f"{summary.n_kept:,}",
    }
    parts = [
        "## How they were chosen",
        _inert(summary.headline),
        _table(["", ""], [[name, _inert(value)] for name, value in facts.items()]),
    ]
    if summary.indicators:
        rows = [
            [f"`{one.column}`", _spread(one.pool), _spread(one.selection)]
            for one in summary.indicators
        ]
        parts += [
            "Median and quartiles of the columns the rule reads:",
            _table(["column", "pool", "kept"], rows),
        ]
    if notes:
        parts.append("\n".join(notes))
    parts.append(
        "A rule predicts; whether models tuned on these rows do better than on as many drawn at "
        "random is for a comparison to say (`instructmining compare`)."
    )
    return parts


def _spread(spread: Spread) -> str:
    if spread.median is None:
        return "–"
    return f"{number(spread.median)} ({number(spread.q25)} to {number(spread.q75)})"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _inert(text: str) -> str:
    """Return text in one line that is neither HTML nor a border of a table."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _shown(command: Sequence[str]) -> str:
    return shlex.join(map(_without_folders, command))


def _without_folders(word: str) -> str:
    name, equals, path = word.rpartition("=")
    return name + equals + (PurePath(path).name if PurePath(path).is_absolute() else path)


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{text}\n{fence}"
