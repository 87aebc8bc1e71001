"""The machine's own ceiling, and the share of it that the two model passes reach.

The ceiling is the fastest of large square matrix products by NumPy's library and by torch,
at one thread and at as many as there are cores, in float32 and in bfloat16. A share takes
the best product of all rounds, measured in the same run. The passes are timed end to end:
tokenisation and planning are inside, the language model's score store too.

Useful work is what the scores need, whatever is computed in fact:

- every token is counted once and padding never; what all prompts begin with, and the one
  token before unconditional responses, once for the whole pool;
- 2 operations per token and weight of the layers' linear maps;
- attention: 4 x heads x head width per layer and pair of a query and a key it may see;
- the language model's head: 2 x width x vocabulary for each response token and no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import encoder, likelihood
from benchmarks.pool import sample
from benchmarks.timing import Aim, Options, Row, Timed, in_turn, say
from instructmining.examples import Example
from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM, resolve

ROWS = 32
#: Rows of the encoder for each row of the language model, which is that much dearer.
ENCODER_SHARE = 6
WARM_UP = 4
#: Rows and columns of the square factors, the small one first.
SIZES = (256, 1_024, 2_048)
GPU_SIZES = (1_024, 4_096, 8_192)
TRIES = 3
#: A product expected to take longer is left out: emulated bfloat16 would take a minute.
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Shape:
    """What a transformer's work is counted from.

    Parameters
    ----------
    layers : int
        Number of layers.
    weights : int
        Weights of one layer's linear maps.
    attention : int
        Heads times width of a head.
    head : int
        Weights of the head, 0 without one.
    """

    layers: int
    weights: int
    attention: int
    head: int = 0

    @classmethod
    def of_llama(cls, config: Any) -> Shape:
        """Read a Llama-like configuration: grouped keys and values, a gated feed-forward."""
        width, attention = config.hidden_size, config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        weights = 2 * width * (attention + keys) + 3 * width * config.intermediate_size
        return cls(config.num_hidden_layers, weights, attention, width * config.vocab_size)

    @classmethod
    def of_bert(cls, config: Any) -> Shape:
        """Read a BERT-like configuration: full attention, a plain feed-forward."""
        width = config.hidden_size
        weights = 4 * width**2 + 2 * width * config.intermediate_size
        return cls(config.num_hidden_layers, weights, width)

    def operations(self, tokens: int, pairs: int, targets: int = 0) -> int:
        """Count the operations of `tokens`, of query-key `pairs` and of `targets` predicted."""
        maps = 2 * self.weights * self.layers * tokens
        return maps + 4 * self.attention * self.layers * pairs + 2 * self.head * targets


def causal_pairs(tokens: int, before: int) -> int:
    """Count the keys that `tokens` queries see behind `before` tokens, each itself included."""
    return tokens * before + tokens * (tokens + 1) // 2


def run(options: Options) -> list[Row]:
    """Measure the ceiling and both passes in turn."""
    from instructmining.models.encoder import EncoderPass
    from instructmining.models.runtime import pick_device, pick_dtype

    examples, pool = sample(options.rows or ROWS, options.seed)
    many, _ = sample(ENCODER_SHARE * len(examples), options.seed)
    sentences = EncoderPass(resolve(DEFAULT_ENCODER))
    score, embed = likelihood.library(), encoder.library(sentences)
    score(examples[:WARM_UP])
    embed(many[:WARM_UP])
    settings = [(dtype, threads) for dtype in ("float32", "bfloat16") for threads in _threads()]
    say(f"ceiling: {len(settings)} kinds of product and two passes, {options.repeats} rounds")
    calls: list[Callable[[], Any]] = [partial(best_product, *setting) for setting in settings]
    calls += [partial(score, examples), partial(embed, many)]
    *products, lm, embedding = in_turn(calls, options.repeats)
    best: dict[str, tuple[float, str]] = {}
    rows = []
    for (dtype, threads), timed in zip(settings, products, strict=True):
        label = f"{dtype}, {_where(threads)}"
        rows.append(Row(f"matrix products, {label}", "GFLOP/s", timed.results))
        best[dtype] = max(best.get(dtype, (0.0, "")), (max(timed.results), label))
    own = str(pick_dtype(pick_device())).removeprefix("torch.")
    what = f"nll + ifd, useful work, {len(examples)} rows of {pool}"
    rows.append(_share(what, causal_work(examples), lm, best[own], Aim("ratio", 0.6)))
    what = f"sentence embeddings, useful work, {len(many)} rows of {pool}"
    work = encoder_work([item.cost for item in sentences.prepare(many)])
    rows.append(_share(what, work, embedding, best["float32"]))
    return rows


def best_product(dtype: str, threads: int) -> float:
    """Return the rate of the fastest square matrix product, in GFLOP/s.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Number format of the factors.
    threads : int
        Threads of both libraries; without effect on a GPU.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from instructmining.models.runtime import pick_device

    device = pick_device()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    best = 0.0
    try:
        with threadpool_limits(threads):
            for size in GPU_SIZES if device.type == "cuda" else SIZES:
                work = 2 * size**3 / 1e9
                if best and work / best > PATIENCE_S:
                    break
                best = max(best, *(work / seconds for seconds in _products(size, dtype)))
    finally:
        torch.set_num_threads(before)
    return best


def _products(size: int, dtype: str) -> list[float]:
    """Seconds of square products by every library, after one call each that is not timed."""
    import torch

    from instructmining.models.runtime import pick_device

    device = pick_device()
    a, b = torch.rand(2, size, size, device=device, dtype=getattr(torch, dtype))

    def multiply() -> None:
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize()

    contestants: list[Callable[[], Any]] = [multiply]
    if device.type == "cpu" and dtype == "float32":
        contestants.append(partial(np.matmul, a.numpy(), b.numpy()))
    for product in contestants:
        product()
    return [s for timed in in_turn(contestants, TRIES) for s in timed.seconds]


def causal_work(examples: Sequence[Example]) -> int:
    """Count the operations `nll` and `ifd` of examples need under the small language model."""
    from transformers import AutoConfig

    from instructmining.models.chat import ChatTokenizer

    folder = resolve(DEFAULT_LM).folder
    shape = Shape.of_llama(AutoConfig.from_pretrained(folder))
    chat = ChatTokenizer(folder)
    prefix = len(chat.prefix)
    work = shape.operations(prefix, causal_pairs(prefix, 0)) + shape.operations(1, 1)
    for tokens in chat.tokenise(list({e.digest: e for e in examples}.values())):
        if tokens is None:
            continue
        before = prefix if tokens.has_prefix else 0
        response = len(tokens.response)
        # The last token is predicted, never read.
        given = len(tokens.prompt) - before + response - 1
        work += shape.operations(given, causal_pairs(given, before), response)
        work += shape.operations(response - 1, causal_pairs(response - 1, 1), response)
    return work


def encoder_work(lengths: Sequence[int]) -> int:
    """Count the operations the embeddings of texts of so many tokens need."""
    from transformers import AutoConfig

    shape = Shape.of_bert(AutoConfig.from_pretrained(resolve(DEFAULT_ENCODER).folder))
    return sum(shape.operations(length, length**2) for length in lengths)


def _share(
    what: str, work: int, timed: Timed, ceiling: tuple[float, str], aim: Aim | None = None
) -> Row:
    rate, label = ceiling
    return Row(
        what=what,
        unit="GFLOP/s",
        ours=timed.rates(work / 1e9),
        theirs=(rate,) * len(timed.seconds),
        against=f"the ceiling, {label}",
        aim=aim,
    )


def _threads() -> list[int]:
    from instructmining.models.runtime import pick_device

    cores = len(os.sched_getaffinity(0))
    return sorted({1, cores}) if pick_device().type == "cpu" else [cores]


def _where(threads: int) -> str:
    from instructmining.models.runtime import pick_device

    if pick_device().type != "cpu":
        return "GPU"
    return f"{threads} thread{'s' if threads > 1 else ''}"
