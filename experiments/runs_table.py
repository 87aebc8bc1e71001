"""Print a run log as a Markdown table: inference loss by mixture, and indicator means.

Usage: runs_table.py RUNS.jsonl

One row per mixture; losses are means over seeds with the standard deviation between seeds
(n - 1) behind the sign ±, token-weighted and example-weighted, per evaluation set.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from instructmining.experiments.runs import RunLog

_WEIGHTINGS = (("token_mean", "token"), ("example_mean", "example"))


def loss_table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return header and rows: mixture, seeds, then two losses per evaluation set."""
    sets = list(runs[0]["losses"])
    header = ["mixture", "seeds"]
    header += [f"{name}, {label}" for name in sets for _, label in _WEIGHTINGS]
    rows = [header]
    for mixture, group in _by_mixture(runs).items():
        cells = [mixture, str(len(group))]
        for name in sets:
            cells += [
                _spread([run["losses"][name][key] for run in group]) for key, _ in _WEIGHTINGS
            ]
        rows.append(cells)
    return rows


def indicator_table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return header and rows: mixture, then the mean of each indicator over its rows."""
    groups = {name: group[0] for name, group in _by_mixture(runs).items() if group[0]["indicators"]}
    columns = list(next(iter(groups.values()))["indicators"])
    rows = [["mixture", *columns]]
    for mixture, run in groups.items():
        means = [run["indicators"][column]["means"]["identity"] for column in columns]
        rows.append([mixture, *(f"{mean:.4g}" for mean in means)])
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Return rows as a Markdown table, the first one its header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def _by_mixture(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["mixture"] or "none (untuned)", []).append(run)
    return groups


def _spread(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


if __name__ == "__main__":
    found = RunLog(Path(sys.argv[1])).records()
    sys.stdout.write(f"{markdown(loss_table(found))}\n\n{markdown(indicator_table(found))}\n")
