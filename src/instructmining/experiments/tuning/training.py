"""How runs are trained: what a plan writes down and a run log repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.examples import Example

#: What is trained: adapters, the last layers, everything.
METHODS = ("lora", "top", "full")

#: Layers ``"top"`` trains where none are named.
TOP_LAYERS = 4

#: Runs trained side by side on an accelerator.
TOGETHER = 8

#: Fields that not every method reads.
_READERS = {
    "rank": ("lora",),
    "alpha": ("lora",),
    "target_modules": ("lora",),
    "n_layers": ("lora", "top"),
}


@dataclass(frozen=True)
class TrainingSetting:
    """What decides a fine-tuning run besides its data and its seed.

    Parameters
    ----------
    method : str
        ``"lora"``: low-rank adapters, everything else frozen. ``"top"``: the last
        `n_layers` decoder layers and the final norm; embeddings, head and the other layers
        frozen. ``"full"``: every weight, embeddings and head (tied or not) included.
    rank, alpha : int
        LoRA only: rank and scale of the adapters.
    target_modules : tuple of str
        LoRA only: names of the linear layers that get one.
    n_layers : int, optional
        Top: how many layers are trained, by default `TOP_LAYERS`. LoRA: only the last so many
        layers get adapters, by default all; the others are then run once per example, not once
        per step, run and evaluation.
    learning_rate : float
        Peak rate; warmed up linearly, then decayed to zero along a cosine.
    warmup_share : float
        Share of the steps that warm up.
    epochs : int
        Passes over the mixture.
    batch_size : int
        Examples per optimiser step.
    max_gradient_norm : float
        Gradients are scaled down to this norm.
    max_tokens : int
        Longer examples are cut from the front of the prompt.

    Raises
    ------
    ExperimentError
        If the method is unknown, or a field was changed that it does not read.
    """

    method: str = "lora"
    rank: int = 8
    alpha: int = 16
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    n_layers: int | None = None
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    epochs: int = 1
    batch_size: int = 8
    max_gradient_norm: float = 1.0
    max_tokens: int = 1_024

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        if self.method not in METHODS:
            raise ExperimentError(
                f"training method {self.method!r} came; known: {', '.join(METHODS)}"
            )
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not self._reads(entry.name) and value != entry.default:
                raise ExperimentError(
                    f"{entry.name} {value!r} came with method {self.method!r}, which does not "
                    f"read it; leave it out or choose method {' or '.join(_READERS[entry.name])}"
                )
        if self.method == "top" and self.n_layers is None:
            object.__setattr__(self, "n_layers", TOP_LAYERS)
        if self.n_layers is not None and self.n_layers < 1:
            raise ExperimentError(f"n_layers {self.n_layers} came; at least 1 is trained")

    def to_json(self) -> dict[str, Any]:
        """Return the setting as it stands in plans and run logs: what the method reads."""
        values = {e.name: getattr(self, e.name) for e in fields(self) if self._reads(e.name)}
        known = {name: value for name, value in values.items() if value is not None}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in known.items()}

    def _reads(self, name: str) -> bool:
        return self.method in _READERS.get(name, METHODS)


@dataclass(frozen=True)
class Job:
    """What one run trains on.

    Parameters
    ----------
    examples : sequence of Example
        The mixture; order does not matter, the seed shuffles it.
    seed : int
        Seed of the adapters and of the order.
    steps_per_epoch : int, optional
        Optimiser steps the shuffled rows of every epoch are divided into, so that mixtures
        of other sizes can be trained for as many steps; by default a step takes the setting's
        `batch_size`.
    steps : int, optional
        Optimiser steps in all, in place of the setting's epochs.
    """

    examples: Sequence[Example]
    seed: int
    steps_per_epoch: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Tuned:
    """One of several models that were tuned side by side.

    Parameters
    ----------
    place : int
        Of its job among those given.
    model : PreTrainedModel
        Good until the next one is asked for.
    seconds : float
        Its share of the time the runs beside each other took.
    """

    place: int
    model: Any
    seconds: float
