"""The language model's pass with the states the small heads read, against the pass without.

Both give ``nll`` of the same rows; one gives the columns of the packaged heads too. Loading is
left out, and so is a first call on a few rows; tokenisation is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.pool import outputs, sample
from benchmarks.timing import Agreement, Aim, Options, Row, in_turn, say
from instructmining.examples import Example
from instructmining.models.causal import CausalPass
from instructmining.models.heads import Head, load_heads
from instructmining.models.sources import DEFAULT_LM, resolve

ROWS = 128
WARM_UP = 8
#: Greatest difference of a loss between two orders of the same float32 sums.
TOLERANCE = 1e-4
#: At most 15 % more time.
AIM = 1 / 1.15


def run(options: Options) -> list[Row]:
    """Time both and compare the losses."""
    heads = list(load_heads().heads.values())
    examples, pool = sample(options.rows or ROWS, options.seed)
    contestants = [scorer(heads), scorer([])]
    for score in contestants:
        score(examples[:WARM_UP])
    say(f"heads: {len(examples)} rows, {options.repeats} rounds")
    ours, theirs = in_turn([partial(score, examples) for score in contestants], options.repeats)
    worst = float(np.abs(ours.result - theirs.result).max())
    columns = ", ".join(head.column for head in heads)
    row = Row(
        what=f"nll with {columns}, {len(examples)} rows of {pool}",
        unit="rows/s",
        ours=ours.rates(len(examples)),
        theirs=theirs.rates(len(examples)),
        against="nll alone",
        agreement=Agreement(f"max |Δ nll| {worst:.1e}", worst <= TOLERANCE),
        aim=Aim("ratio", AIM),
    )
    return [row]


def scorer(heads: Sequence[Head]) -> Callable[[Sequence[Example]], np.ndarray]:
    """Return what fills ``nll`` and the heads' columns, its model kept loaded: nll, shape (n,)."""
    layers = sorted({layer for head in heads for layer in head.layers})
    lm = CausalPass(resolve(DEFAULT_LM), layers=layers)

    def score(examples: Sequence[Example]) -> np.ndarray:
        items = lm.prepare(examples)
        nll = np.empty(len(items))
        for batch, output in outputs(lm, items):
            nll[batch] = output.nll
            for head in heads:
                head.score(output.states)
        return nll

    return score
