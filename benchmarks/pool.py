"""The rows that are timed, a seeded sample of a real pool, and their run through a pass."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from benchmarks.timing import REPOSITORY
from instructmining.examples import Example
from instructmining.formats import open_pool
from instructmining.models.base import Item, PlannedPass
from instructmining.models.batching import plan_batches

#: Stanford Alpaca, where the folder of data sets lies beside the repository.
ALPACA = REPOSITORY.parent / "shared" / "data" / "instructions" / "alpaca_data.json"
DEMO = REPOSITORY / "examples" / "demo_pool.jsonl"


def outputs(own_pass: PlannedPass[Any], items: Sequence[Item]) -> Iterator[tuple[list[int], Any]]:
    """Run items in planned batches; yield the places of each batch, and what the pass gave."""
    plan = plan_batches([i.cost for i in items], [i.group for i in items], own_pass.budget)
    for batch in plan:
        yield batch, own_pass.run([items[i] for i in batch])


@cache
def whole_pool() -> tuple[list[Example], str]:
    """Return every scorable example of Alpaca, else of the demonstration's pool, and its name.

    Read once; callers leave the list as it is.
    """
    path, name = (ALPACA, "Alpaca") if ALPACA.is_file() else (DEMO, "the demonstration pool")
    return [example for example in open_pool(path).examples() if example.scorable], name


def sample(rows: int, seed: int) -> tuple[list[Example], str]:
    """Draw rows without replacement, in input order; and say what they were drawn from.

    Parameters
    ----------
    rows : int
        How many, at most; a smaller pool is taken whole.
    seed : int
        Seed of the draw.
    """
    examples, name = whole_pool()
    drawn = random.Random(seed).sample(range(len(examples)), min(rows, len(examples)))
    return [examples[index] for index in sorted(drawn)], name
