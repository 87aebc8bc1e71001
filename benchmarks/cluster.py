"""Two workers of a Ray cluster on this machine against the local engine, same rows and scores.

The cluster is running before the clock starts; that its workers start and load the model is
part of every round, as it is of every command.
"""

from __future__ import annotations

from functools import partial

from benchmarks.likelihood import library, spearman
from benchmarks.pool import sample
from benchmarks.timing import Agreement, Aim, Options, Row, in_turn, say
from instructmining.cluster import Resources, connect
from instructmining.scoring.ray import RayLabour

#: Enough that the start of the workers does not count for much.
ROWS = 2_048
AIM = Aim("ratio", 0.9)
#: Rank correlation of scores in bfloat16, whose sums depend on the number of threads.
ALIKE = 0.999


def run(options: Options) -> list[Row]:
    """Time `nll` by the workers and by this process."""
    examples, pool = sample(options.rows or ROWS, options.seed)
    workers = Resources.share().workers
    here, there = library(["nll"]), library(["nll"], RayLabour(workers))
    here(examples[:8])
    say(f"cluster: {len(examples)} rows, {options.repeats} rounds, {workers} workers")
    away, local = in_turn([partial(there, examples), partial(here, examples)], options.repeats)
    found = spearman(away.result[:, 0], local.result[:, 0])
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
