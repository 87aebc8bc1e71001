"""Small pools of examples."""

from __future__ import annotations

import random

from instructmining.examples import Example, Turn
from instructmining.scoring.digests import pack
from instructmining.scoring.reference import ReferenceSpec, text_key

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sees",
    "finds",
    "green",
    "old",
    "river",
    "house",
    "and",
    "then",
    "under",
    "quickly",
]


def example(row: int, prompt: str, response: str, **fields) -> Example:
    return Example(row, (Turn("user", prompt),), response, **fields)


def examples(n: int, seed: int = 0) -> list[Example]:
    """Distinct examples of different lengths."""
    random_ = random.Random(seed)
    texts = [" ".join(random_.choices(WORDS, k=random_.randint(3, 25))) for _ in range(n)]
    return [
        example(row, f"{seed} {row}: what then?", f"{row} {text}") for row, text in enumerate(texts)
    ]


def renumbered(pool: list[Example]) -> list[Example]:
    """The same contents in this order, rows 0 to n-1."""
    return [Example(row, e.turns, e.response, e.source, e.flags) for row, e in enumerate(pool)]


def rows_of(spec: ReferenceSpec, pool: list[Example]) -> list[int]:
    """Positions in `pool` of the reference it gives, rows without a response left out."""
    rows = [row for row, e in enumerate(pool) if e.scorable]
    digests = pack(pool[row].digest for row in rows)
    chosen = spec.choose(digests, pack(text_key(pool[row]) for row in rows))
    return [rows[place] for place in chosen]
