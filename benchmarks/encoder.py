"""The encoder pass against ``SentenceTransformer.encode`` with its own settings.

Both embed prompt, newline, response of the same rows on the same device, in float32, to
unit length. Loading is left out, and so is a first call on a few rows; tokenisation is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pool import outputs, sample
from benchmarks.timing import Agreement, Options, Row, in_turn, say
from instructmining.examples import Example
from instructmining.models.sources import DEFAULT_ENCODER, resolve

if TYPE_CHECKING:
    from instructmining.models.encoder import EncoderPass

ROWS = 256
WARM_UP = 8
#: Greatest difference of a coordinate between two orders of the same float32 sums.
TOLERANCE = 1e-5


def run(options: Options) -> list[Row]:
    """Time both and compare the embeddings."""
    from instructmining.models.encoder import EncoderPass

    examples, pool = sample(options.rows or ROWS, options.seed)
    contestants = [library(EncoderPass(resolve(DEFAULT_ENCODER))), sentence_transformers()]
    for embed in contestants:
        embed(examples[:WARM_UP])
    say(f"encoder: {len(examples)} rows, {options.repeats} rounds")
    ours, theirs = in_turn([partial(embed, examples) for embed in contestants], options.repeats)
    worst = float(np.abs(ours.result - theirs.result).max())
    row = Row(
        what=f"sentence embeddings, {len(examples)} rows of {pool}",
        unit="rows/s",
        ours=ours.rates(len(examples)),
        theirs=theirs.rates(len(examples)),
        against="SentenceTransformer.encode",
        agreement=Agreement(f"max |Δ| {worst:.1e}", worst <= TOLERANCE),
    )
    return [row]


def library(encoder: EncoderPass) -> Callable[[Sequence[Example]], np.ndarray]:
    """Return our embedding with its model kept loaded: float32, shape (n, d)."""

    def embed(examples: Sequence[Example]) -> np.ndarray:
        items = encoder.prepare(examples)
        batches, found = zip(*outputs(encoder, items), strict=True)
        parts = [output.embedding for output in found]
        embedding = np.empty((len(items), parts[0].shape[1]), dtype=np.float32)
        embedding[np.concatenate(batches)] = np.concatenate(parts)
        return embedding

    return embed


def sentence_transformers() -> Callable[[Sequence[Example]], np.ndarray]:
    """Return what a user would write."""
    from sentence_transformers import SentenceTransformer

    from instructmining.models.runtime import quiet_loading

    quiet_loading()
    model = SentenceTransformer(str(resolve(DEFAULT_ENCODER).folder), local_files_only=True)

    def embed(examples: Sequence[Example]) -> np.ndarray:
        texts = [f"{example.prompt}\n{example.response}" for example in examples]
        found = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found)

    return embed
