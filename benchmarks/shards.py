"""What a store of very many small shards costs, before and after they are joined.

``python -m benchmarks.shards N [FOLDER]`` writes N shards of four rows each, as a pool of
long rows on a large budget of machines would leave them, then lists, loads, joins and loads
them again, and prints the times as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from instructmining.scoring.digests import Lookup, pack
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.store import Shelf, Store

ROWS = 4


def main(n: int, folder: str) -> None:
    """Measure a shelf of `n` shards in `folder`."""
    shelf = Store(folder).shelf({"indicator": "nll", "version": 1}, {}, 1)
    rows = Lookup(pack(f"{row:032x}" for row in range(n * ROWS)))
    found = {"shards": n, "rows": n * ROWS, "write_s": timed(lambda: fill(shelf, n))}
    found["list_s"] = timed(lambda: shelf.folder.names(".parquet"))
    found["load_s"] = timed(lambda: check(shelf, rows))
    found["join_s"] = timed(shelf.compact)
    found["shards_joined"] = len(shelf.folder.names(".parquet"))
    found["load_joined_s"] = timed(lambda: check(shelf, rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({**found, "peak_gb": round(peak / 2**20, 2)}) + "\n")


def fill(shelf: Shelf, n: int) -> None:
    """Write the shards."""
    for shard in range(n):
        digests = [f"{row:032x}" for row in range(shard * ROWS, (shard + 1) * ROWS)]
        shelf.append(digests, np.full((ROWS, 1), float(shard)), [[]] * ROWS)


def check(shelf: Shelf, rows: Lookup) -> None:
    """Load every row, and refuse a store that lost one."""
    stored = shelf.load(rows, FlagCodes())
    if not stored.known.all():
        raise SystemExit(f"{int((~stored.known).sum())} rows were lost")


def timed(act: Callable[[], object]) -> float:
    """Return the seconds something takes."""
    began = time.perf_counter()
    act()
    return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    where = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=where and Path(where)) as place:
        main(int(sys.argv[1]), place)
