"""Two workers of a Ray cluster on this machine against the local engine, same rows and scores.

The cluster is running before the clock starts; that its workers start and load the model is
part of every round, as it is of every command.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.likelihood import spearman
from benchmarks.pool import sample
from benchmarks.timing import Agreement, Aim, Options, Row, in_turn, say
from instructmining.cluster import Resources, connect
from instructmining.examples import Example
from instructmining.indicators.base import indicators_for
from instructmining.scoring.engine import Engine
from instructmining.scoring.labour import Labour, Local
from instructmining.scoring.passes import Models
from instructmining.scoring.ray import RayLabour
from instructmining.scoring.store import Store

#: Enough that the start of the workers does not count for much.
ROWS = 2_048
AIM = Aim("ratio", 0.9)
#: Rank correlation of scores in bfloat16, whose sums depend on the number of threads.
ALIKE = 0.999


def run(options: Options) -> list[Row]:
    """Time `nll` by the workers and by this process."""
    examples, pool = sample(options.rows or ROWS, options.seed)
    workers = Resources.share().workers
    models = Models()
    here: Callable[[], np.ndarray] = partial(score, examples, models, Local())
    there: Callable[[], np.ndarray] = partial(score, examples, models, RayLabour(workers))
    score(examples[:8], models, Local())
    say(f"cluster: {len(examples)} rows, {options.repeats} rounds, {workers} workers")
    away, local = in_turn([there, here], options.repeats)
    found = spearman(away.result, local.result)
    connect().shutdown()
    return [
        Row(
            what=f"nll, {len(examples)} rows of {pool}, {workers} Ray workers",
            unit="rows/s",
            ours=away.rates(len(examples)),
            theirs=local.rates(len(examples)),
            against="the local engine",
            agreement=Agreement(f"Spearman {found:.5f}", found >= ALIKE),
            aim=AIM,
        )
    ]


def score(examples: list[Example], models: Models, labour: Labour) -> np.ndarray:
    """Score into an empty store; return `nll`."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Store(Path(folder)), models, labour=labour)
        table = engine.score(examples, indicators_for(["nll"]), columns=["nll"])
    return table.frame["nll"].to_numpy()
