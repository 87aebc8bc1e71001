"""Write a seeded sample of a pool's rows, as they came.

Usage: sample_rows.py POOL N SEED OUT
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from instructmining.formats import open_pool


def main(source: str, n: str, seed: str, out: str) -> None:
    """Draw `n` rows without replacement and write them in input order."""
    pool = open_pool(source)
    rows = [example.row for example in pool.examples()]
    pool.write(sorted(random.Random(int(seed)).sample(rows, int(n))), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
