"""Spoil half of the mixed pool, to see what there is to lose by not choosing.

Usage: python experiments/proof/spoilt.py FOLDER

Beside ``mixed.jsonl`` (experiments/proof/pools.py) FOLDER then holds ``spoilt.jsonl``, the same
rows with every second response, by a seeded draw, damaged in one of six ways (``spoilt`` names it:
words shuffled, left out, repeated or mistyped, another prompt's answer, cut in the middle), and
``spoilt.clean.parquet``, decisions that keep the others in a seeded order: a choice that sees
every defect and nothing else.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pools import read, write

from instructmining.files import replacing
from instructmining.heads.damage import damaged, swapped

WAYS = ("shuffle", "drop", "repeat", "typo", "swap", "cut")
SHARE = 0.5
SEED = 11


def worse(index: int, responses: Sequence[str], way: str, rng: random.Random) -> str | None:
    """Return a response spoilt in one way; None where that changes nothing."""
    text = responses[index]
    if way == "swap":
        return responses[swapped(index, responses, range(len(responses)), rng)]
    if way == "cut":
        words = text.split(" ")
        return " ".join(words[: len(words) // 2]) or None
    return damaged(text, way, rng)


def spoil(records: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return the records, a share of them with a worse response; each says how it was made."""
    rng = random.Random(seed)
    chosen = {*rng.sample(range(len(records)), round(SHARE * len(records)))}
    responses = [record["messages"][-1]["content"] for record in records]
    found = []
    for i, record in enumerate(records):
        way = rng.choice(WAYS) if i in chosen else ""
        text = worse(i, responses, way, rng) if way else None
        answer = {"role": "assistant", "content": text or responses[i]}
        messages = [*record["messages"][:-1], answer]
        found.append({**record, "messages": messages, "spoilt": way if text else ""})
    return found


def main(folder: Path) -> None:
    """Write pool and decisions."""
    records = spoil(read(folder / "mixed.jsonl"), SEED)
    write(folder / "spoilt.jsonl", records)
    clean = [row for row, record in enumerate(records) if not record["spoilt"]]
    random.Random(SEED).shuffle(clean)
    decisions = pl.DataFrame({"row": clean, "kept": [True] * len(clean)})
    with replacing(folder / "spoilt.clean.parquet") as temporary:
        decisions.with_row_index("rank", offset=1).write_parquet(temporary)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    main(Path(sys.argv[1]))
