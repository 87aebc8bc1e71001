"""Small linear heads on a language model's states, and the file they come in.

A head is one weight per state: what it costs beside the model's run is nothing. It fits
the very weights it was trained on, which the file names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from instructmining.errors import ModelError, first_line
from instructmining.files import replacing

#: Ending of files of heads.
SUFFIX = ".safetensors"
_SCHEMA = "1"
_PACKAGED = "heads.safetensors"
_PROMPTS = "trained_on"
_PROMPT_BYTES = 16


@dataclass(frozen=True)
class Head:
    """A linear readout of the mean states of a response.

    Parameters
    ----------
    column : str
        The column it fills.
    layers : tuple of int
        Layers whose states it reads; `k` is ``hidden_states[k]`` of transformers.
    weight : ndarray of float32, shape (len(layers), hidden size)
        Weights, the scaling of the states folded in.
    bias : float
        Makes 0 the mean over the examples it was trained on.
    """

    column: str
    layers: tuple[int, ...]
    weight: np.ndarray
    bias: float

    @cached_property
    def hash(self) -> str:
        """Hash of everything its values depend on beside the model."""
        text = json.dumps([self.column, self.layers, self.bias])
        return hashlib.sha256(text.encode() + self.weight.tobytes()).hexdigest()[:16]

    def score(self, states: Mapping[int, np.ndarray]) -> np.ndarray:
        """Return the logit of every response: float64, shape (n,).

        Parameters
        ----------
        states : mapping from int to ndarray, shape (n, hidden size)
            Mean states of the responses by layer; NaN where there is none.
        """
        parts = zip(self.layers, self.weight.astype(np.float64), strict=True)
        found: np.ndarray = sum(states[layer] @ weight for layer, weight in parts) + self.bias
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True)
class HeadFile:
    """Heads trained on one model.

    Parameters
    ----------
    heads : mapping from str to Head
        By column.
    lm : str
        Name of the language model.
    lm_weights : str
        Hash of its weights, as `models.sources` gives it.
    card : mapping
        How they were trained and measured, as JSON.
    trained_on : frozenset of str
        Hashes (`examples.prompt_hash`) of the instructions they were trained on: rows with
        them flatter the heads.
    """

    heads: Mapping[str, Head]
    lm: str
    lm_weights: str
    card: Mapping[str, Any]
    trained_on: frozenset[str] = frozenset()

    def save(self, path: Path) -> None:
        """Write the file; an existing one is replaced by a finished one only."""
        from safetensors.numpy import save_file

        tensors = {f"{head.column}.weight": head.weight for head in self.heads.values()}
        prompts = b"".join(map(bytes.fromhex, sorted(self.trained_on)))
        tensors[_PROMPTS] = np.frombuffer(prompts, dtype=np.uint8).reshape(-1, _PROMPT_BYTES)
        about = {
            "schema": _SCHEMA,
            "lm": self.lm,
            "lm_weights": self.lm_weights,
            "heads": {
                head.column: {"layers": head.layers, "bias": head.bias}
                for head in self.heads.values()
            },
            "card": self.card,
        }
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"instructmining_heads": json.dumps(about)})


def load_heads(path: Path | str | None = None) -> HeadFile:
    """Read a file of heads, by default the one that comes with the package.

    Raises
    ------
    ModelError
        If it is not there, or not a file of heads.
    """
    if path is None:
        return _packaged()
    return _read(Path(path))


@lru_cache(maxsize=1)
def _packaged() -> HeadFile:
    with as_file(files(__package__) / "packaged" / _PACKAGED) as path:
        return _read(path)


def _read(path: Path) -> HeadFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["instructmining_heads"])
            heads = {
                column: Head(
                    column,
                    tuple(own["layers"]),
                    file.get_tensor(f"{column}.weight"),
                    float(own["bias"]),
                )
                for column, own in about["heads"].items()
            }
            prompts = file.get_tensor(_PROMPTS)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file of heads") from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: not a file of heads ({first_line(error)}); "
            "wanted what `instructmining head fit` writes"
        ) from error
    if about.get("schema") != _SCHEMA:
        raise ModelError(
            f"{path}: heads of version {about.get('schema')!r}, wanted {_SCHEMA}; train them anew"
        )
    trained_on = frozenset(row.tobytes().hex() for row in prompts)
    return HeadFile(heads, about["lm"], about["lm_weights"], about["card"], trained_on)


def stacked(states: Mapping[int, np.ndarray], layers: Sequence[int]) -> np.ndarray:
    """Return the states of `layers` side by side, shape (n, len(layers) * hidden size)."""
    return np.concatenate([states[layer] for layer in layers], axis=1)
