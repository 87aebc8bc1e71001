"""What pools of many sizes cost, from rates that were measured and a store that is there.

``python -m benchmarks.scale STORE --rate NAME=ROWS ... [--memory BYTES]`` reads how many bytes
a row takes in each shelf of the store as its batches left it and with its shards joined (in a
copy), and prints, as Markdown, time and storage for a million, a hundred million and a
thousand million rows. ROWS are rows a second of one core; BYTES what the process that plans
holds of a row.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from instructmining.folders import DiskFolder
from instructmining.scoring.store import Shelf

SIZES = (10**6, 10**8, 10**9)


@dataclass(frozen=True)
class Stored:
    """A shelf: rows, shards, bytes as it is and with its shards joined."""

    name: str
    rows: int
    shards: int
    size: int
    joined: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=ROWS")
    parser.add_argument("--memory", type=float, default=0.0, metavar="BYTES")
    given = parser.parse_args(arguments)
    lines = ["| | " + " | ".join(f"{size:,} rows" for size in SIZES) + " |", "|---|---|---|---|"]
    for text in given.rate:
        name, _, rate = text.rpartition("=")
        lines.append(line(f"{name}, core-hours", [size / float(rate) / 3600 for size in SIZES]))
    for shelf in (measure(path) for path in sorted(given.store.iterdir()) if path.is_dir()):
        sys.stderr.write(
            f"{shelf.name}: {shelf.rows} rows in {shelf.shards} shards, "
            f"{shelf.size / shelf.rows:.0f} bytes a row, {shelf.joined / shelf.rows:.0f} joined\n"
        )
        per_row = shelf.joined / shelf.rows
        lines.append(line(f"store: {shelf.name}, GB", [size * per_row / 1e9 for size in SIZES]))
    if given.memory:
        held = [size * given.memory / 1e9 for size in SIZES]
        lines.append(line("memory of the process that plans, GB", held))
    sys.stdout.write("\n".join(lines) + "\n")


def line(name: str, values: Sequence[float]) -> str:
    """Return a row of the table."""
    return f"| {name} | " + " | ".join(map(figure, values)) + " |"


def figure(value: float) -> str:
    """Return a number of two or three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def measure(folder: Path) -> Stored:
    """Read a shelf, and join the shards of a copy."""
    shards = sorted(folder.glob("*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in shards)
    table = pq.read_schema(shards[0]).field("values").type
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(folder, Path(place) / "shelf")
        dtype = table.value_type.to_pandas_dtype()
        Shelf(DiskFolder(copy), table.list_size, dtype).compact(most=1)
        joined = sum(path.stat().st_size for path in copy.glob("*.parquet"))
    name = folder.name.rpartition("-")[0]
    return Stored(name, rows, len(shards), sum(p.stat().st_size for p in shards), joined)


if __name__ == "__main__":
    main()
