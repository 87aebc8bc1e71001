"""Print the share of each defect that selections of one pool dropped.

Usage: drop_rates.py POOL.jsonl DECISIONS.parquet [DECISIONS.parquet ...]

The pool's ``defect`` notes are read here and nowhere else; no indicator sees them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from instructmining.selection.select import load_decisions


def drop_rates(pool: Path, decisions: list[Path]) -> Table:
    """Return a table: one row per defect, one column of drop rates per selection."""
    with pool.open(encoding="utf-8") as lines:
        defects = [json.loads(line)["defect"] for line in lines]
    table = Table(title="Share of rows dropped, by defect", title_justify="left")
    table.add_column("defect")
    table.add_column("rows", justify="right")
    rates: list[dict[str, float]] = []
    for path in decisions:
        frame, metadata = load_decisions(path)
        within = ", ".join(metadata["params"].get("within", ()))
        asked = f"rule {metadata['rule']}" + (f", within {within}" if within else "")
        table.add_column(asked, justify="right")
        noted = frame.with_columns(pl.Series("defect", defects))
        dropped = noted.group_by("defect").agg((~pl.col("kept")).mean())
        rates.append(dict(dropped.iter_rows()))
    for defect in sorted(set(defects), key=lambda name: (name != "none", name)):
        shares = [f"{rate[defect]:.0%}" for rate in rates]
        table.add_row(defect, str(defects.count(defect)), *shares)
    return table


if __name__ == "__main__":
    pool, *decisions = map(Path, sys.argv[1:])
    Console().print(drop_rates(pool, decisions))
