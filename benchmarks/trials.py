"""What was tried for speed and is not in the library, so that the figures can be repeated.

- ``int8``: the decoder's linear maps with eight-bit weights (a scale per output) and
  eight-bit activations: with a scale per call, as torch offers them on a processor, and with
  a scale per token in one or two planes of eight bits each.
- ``padding``: tokens a padded batch plan would run over the whole pool, against the tokens
  packed batches run; no model is run.

Not among the benchmarks run by default: name it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch

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
    examples, name = sample(options.rows or ROWS, options.seed)
    items = [item for item in lm.prepare(examples) if item.payload]
    formats = {
        "a scale per call": _quantise,
        "a scale per token": lambda model: _planes(model, 1),
        "a scale per token, two planes": lambda model: _planes(model, 2),
    }
    contestants = [lm]
    for quantise in formats.values():
        quantised = copy.copy(lm)
        quantised.model = quantise(copy.deepcopy(lm.model))
        contestants.append(quantised)
    for contestant in contestants:
        contestant.run(items[:4])

    def scores(contestant: CausalPass, rows: list[Item]) -> np.ndarray:
        nll = np.empty(len(rows))
        for batch, output in outputs(contestant, rows):
            nll[batch] = output.nll
        return nll

    theirs, *found = in_turn([lambda c=c: scores(c, items) for c in contestants], options.repeats)
    rows = []
    for what, ours in zip(formats, found, strict=True):
        off = np.abs(ours.result - theirs.result)
        rank = spearman(ours.result, theirs.result)
        text = f"median |Δ nll| {np.median(off):.2g}, greatest {off.max():.2g}, Spearman {rank:.4f}"
        rows.append(
            Row(
                what=f"nll + ifd with int8 layers, {what}, {len(items)} rows of {name}",
                unit="rows/s",
                ours=ours.rates(len(items)),
                theirs=theirs.rates(len(items)),
                against=f"the number format in use ({torch.finfo(lm.dtype).bits} bits)",
                # The design's tolerance for a number format: median 3e-3, rank 0.999.
                agreement=Agreement(text, bool(np.median(off) <= 3e-3 and rank >= 0.999)),
            )
        )
    return rows


def _quantise(model: Any) -> Any:
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.model = quantize_dynamic(
            model.model, {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8
        )
    return model


def _planes(model: Any, n: int) -> Any:
    for module in list(model.model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is torch.nn.Linear:
                setattr(module, name, PlanesLinear(child, n))
    return model


class PlanesLinear(torch.nn.Module):
    """A linear map in eight-bit integers: values are sums of planes of seven bits each.

    Parameters
    ----------
    linear : Linear
        Without bias.
    n : int
        Planes of weights and of activations; products of two low planes are left out.
    """

    def __init__(self, linear: torch.nn.Linear, n: int) -> None:
        super().__init__()
        planes, self.scale = self.split(linear.weight.detach().float(), n)
        self.planes = [plane.T for plane in planes]

    @staticmethod
    def split(values: torch.Tensor, n: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return planes, the highest first, and the scale of each row."""
        top = 127 * 128 ** (n - 1)
        scale = values.abs().amax(1, keepdim=True).clamp_min(1e-20) / top
        whole = (values / scale).round_().to(torch.int32)
        planes = []
        for power in range(n - 1, -1, -1):
            high = (whole + 64 * 128 ** (power - 1)) // 128**power if power else whole
            planes.append(high.to(torch.int8))
            whole = whole - high * 128**power
        return planes, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        n = len(self.planes)
        mine, scale = self.split(x.reshape(-1, x.shape[-1]), n)
        total: Any = 0.0
        for i, one in enumerate(mine):
            for j, two in enumerate(self.planes[: n - i]):
                total = total + torch._int_mm(one, two).float() * 128.0 ** (2 * (n - 1) - i - j)
        return (total * scale * self.scale.T).reshape(*x.shape[:-1], -1)
