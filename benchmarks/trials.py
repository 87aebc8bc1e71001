"""What was tried for speed and is not in the library, so that the figures can be repeated.

- ``int8``: the decoder's linear maps with eight-bit weights (a scale per output) and
  eight-bit activations (a scale per call), as torch offers them on a processor.
- ``padding``: tokens a padded batch plan would run over the whole pool, against the tokens
  packed batches run; no model is run.

Not among the benchmarks run by default: name it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from benchmarks.likelihood import spearman
from benchmarks.pool import outputs, sample, whole_pool
from benchmarks.timing import Agreement, Options, Row, in_turn
from instructmining.models.base import Item
from instructmining.models.batching import plan_batches
from instructmining.models.causal import CausalPass
from instructmining.models.sources import DEFAULT_LM, resolve

ROWS = 32


def run(options: Options) -> list[Row]:
    """Measure both."""
    lm = CausalPass(resolve(DEFAULT_LM), alone=True)
    return [*_padding(lm, options), *_int8(lm, options)]


def _padding(lm: CausalPass, options: Options) -> list[Row]:
    examples, name = sample(options.rows, options.seed) if options.rows else whole_pool()
    items = [item for item in lm.prepare(examples) if item.payload]
    plan = plan_batches([i.cost for i in items], [i.group for i in items], lm.budget)
    costs = np.asarray([item.cost for item in items])
    responses = np.asarray([len(item.payload[1]) for item in items])
    padded = sum(len(b) * int(costs[b].max() + responses[b].max()) for b in plan)
    return [
        Row(
            what=f"tokens run, {len(items)} rows of {name}",
            unit="tokens",
            ours=(float(costs.sum() + responses.sum()),),
            theirs=(float(padded),),
            against="padded batches, same plan",
            higher_is_better=False,
        )
    ]


def _int8(lm: CausalPass, options: Options) -> list[Row]:
    import torch

    examples, name = sample(options.rows or ROWS, options.seed)
    items = [item for item in lm.prepare(examples) if item.payload]
    quantised = copy.copy(lm)
    quantised.model = _quantise(copy.deepcopy(lm.model))
    contestants = [quantised, lm]
    for contestant in contestants:
        contestant.run(items[:4])

    def scores(contestant: CausalPass, rows: list[Item]) -> np.ndarray:
        nll = np.empty(len(rows))
        for batch, output in outputs(contestant, rows):
            nll[batch] = output.nll
        return nll

    ours, theirs = in_turn([lambda c=c: scores(c, items) for c in contestants], options.repeats)
    off = np.abs(ours.result - theirs.result)
    rank = spearman(ours.result, theirs.result)
    text = f"median |Δ nll| {np.median(off):.2g}, greatest {off.max():.2g}, Spearman {rank:.3f}"
    return [
        Row(
            what=f"nll + ifd with int8 layers, {len(items)} rows of {name}",
            unit="rows/s",
            ours=ours.rates(len(items)),
            theirs=theirs.rates(len(items)),
            against=f"the number format in use ({torch.finfo(lm.dtype).bits} bits)",
            # The design's tolerance for a number format: median 3e-3, rank 0.999.
            agreement=Agreement(text, bool(np.median(off) <= 3e-3 and rank >= 0.999)),
        )
    ]


def _quantise(model: Any) -> Any:
    import torch
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.model = quantize_dynamic(
            model.model, {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8
        )
    return model
