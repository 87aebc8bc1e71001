"""Write the two pools the proof selects from.

Usage: python experiments/proof/pools.py DATA FOLDER

DATA is the folder of real data (docs/results.md). ``alpaca.jsonl`` holds 5,000 rows of Alpaca,
``mixed.jsonl`` 640 rows of each of the eight sources the rule's experiment draws from, both by
seeded draws, as chat messages with their source.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from instructmining.examples import Example
from instructmining.files import replacing
from instructmining.formats import open_pool
from instructmining.formats.exports import messages_of

#: Source to its file, as the rule's experiment names them.
SOURCES = dict(
    line.split("=", 1)
    for line in (Path(__file__).parents[1] / "sources.txt").read_text("utf-8").splitlines()
)
#: Pool to how many rows of which source.
POOLS: Mapping[str, Mapping[str, int]] = {
    "alpaca": {"alpaca": 5_000},
    "mixed": dict.fromkeys(SOURCES, 640),
}
SEED = 7


def record(example: Example, source: str) -> dict[str, Any]:
    """Return a row as messages with its source."""
    return {"messages": messages_of(example), "source": source}


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write records, one line each; an existing file is replaced only by a whole one."""
    with replacing(path) as temporary:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        temporary.write_text(text, encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """Read what `write` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def records(data: Path, wanted: Mapping[str, int], seed: int) -> Iterator[dict[str, Any]]:
    """Draw rows of each source and give them as messages, sources in turn."""
    for source, n in wanted.items():
        pool = open_pool(data / "instructions" / SOURCES[source])
        usable = [example for example in pool.examples() if example.scorable]
        places = random.Random(f"{source}-{seed}").sample(range(len(usable)), n)
        for place in sorted(places):
            yield record(usable[place], source)


def main(data: Path, folder: Path) -> None:
    """Write both pools."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in POOLS.items():
        write(folder / f"{name}.jsonl", records(data, wanted, SEED))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} DATA FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
