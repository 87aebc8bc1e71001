"""How large a model is, found out from its files' headers, or known beforehand."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from instructmining.models.sources import find_locally

# Tables of one vector per token or position: looked up, not multiplied with.
_TABLES = ("embed", "shared.weight", "wte.", "wpe.")
_HEADS = ("lm_head", "embed_out")


@dataclass(frozen=True)
class ModelSize:
    """What the cost of running a model depends on.

    Parameters
    ----------
    parameters : int
        All weights.
    active : int
        Weights that every token of the input is multiplied with.
    head : int
        Weights of a language model's head, 0 without one; the embeddings where it is tied.
    width : int
        Size of a hidden state.
    here : bool
        Whether the model lies on this machine.
    """

    parameters: int
    active: int
    head: int
    width: int
    here: bool = True


#: Models of the presets, for machines that they are not on.
_KNOWN = {
    "smollm2-135m-instruct": ModelSize(134_515_008, 106_168_320, 28_311_552, 576, here=False),
    "all-minilm-l6-v2": ModelSize(22_713_728, 10_764_288, 0, 384, here=False),
    "sentence-transformers/all-MiniLM-L6-v2": ModelSize(22_713_728, 10_764_288, 0, 384, here=False),
    "meta-llama/Llama-2-7b-hf": ModelSize(
        6_738_415_616, 6_476_005_376, 131_072_000, 4_096, here=False
    ),
    "OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5": ModelSize(
        1_311_600_000, 1_207_959_552, 0, 2_048, here=False
    ),
    "OpenAssistant/reward-model-deberta-v3-large-v2": ModelSize(
        435_000_000, 302_000_000, 0, 1_024, here=False
    ),
    "MingZhong/unieval-dialog": ModelSize(737_668_096, 301_989_888, 0, 1_024, here=False),
}


def size_of(name: str) -> ModelSize | None:
    """Return the size of a model without loading or fetching it; None where it is not known.

    Parameters
    ----------
    name : str
        As for `sources.resolve`.
    """
    folder = find_locally(name)
    shapes = dict(_shapes(folder)) if folder is not None else {}
    return _size(shapes) if shapes else _KNOWN.get(name.partition("@")[0])


def _size(shapes: dict[str, tuple[int, ...]]) -> ModelSize:
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    tables = {n: s for n, s in matrices.items() if any(part in n for part in _TABLES)}
    heads = [prod(s) for n, s in matrices.items() if any(part in n for part in _HEADS)]
    # Of an encoder-decoder the decoder runs for one token.
    encodes = any(name.startswith("encoder.") for name in shapes)
    active = sum(
        prod(shape)
        for name, shape in matrices.items()
        if name not in tables
        and not any(part in name for part in _HEADS)
        and not (encodes and name.startswith("decoder."))
    )
    largest = max(tables.values(), key=prod, default=max(shapes.values(), key=prod))
    head = heads[0] if heads else prod(largest)
    return ModelSize(sum(map(prod, shapes.values())), active, head, largest[-1])


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Read name and shape of every tensor from the headers of a folder's safetensors."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, tuple(entry["shape"])
