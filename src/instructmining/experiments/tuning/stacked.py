"""Adapters of several runs on one base model, so that the runs train side by side.

What is frozen is the same for all of them and is run once over everybody's tokens; what is
trained is a pair of small matrices per run, multiplied for all runs at one time. A small
model alone leaves an accelerator idle most of the time, waiting for the next small product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from instructmining.experiments.tuning.methods import trainable
from instructmining.experiments.tuning.training import TrainingSetting
from instructmining.models.likelihood import TargetSequence, target_losses
from instructmining.models.packed import PackedModel

_NO_PREFIX = np.empty(0, dtype=np.int32)


@dataclass
class Turn:
    """Whose tokens run: as many tokens of each of `n` runs, one behind the other, or one run's.

    Parameters
    ----------
    n : int
        Runs side by side.
    only : int, optional
        The run all tokens belong to.
    """

    n: int
    only: int | None = None


class StackedAdapters(torch.nn.Module):
    """A frozen linear layer with one low-rank adapter per run (LoRA, arXiv 2106.09685).

    Parameters
    ----------
    base : Linear
        The frozen layer.
    down : sequence of Tensor, each of shape (rank, inputs)
        First matrix of each run's adapter, as it begins; the second begins at zero.
    scale : float
        Of what the adapters add.
    turn : Turn
        Shared by all layers of a model.
    """

    def __init__(
        self, base: torch.nn.Linear, down: Sequence[torch.Tensor], scale: float, turn: Turn
    ) -> None:
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(torch.stack(list(down)))
        self.up = torch.nn.Parameter(
            self.down.new_zeros(len(down), base.out_features, self.down.shape[1])
        )
        self.scale, self.turn = scale, turn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run tokens of shape (..., inputs), laid out as the turn says."""
        before: torch.Tensor = self.base(x)
        if self.turn.only is not None:
            one = self.turn.only
            return before + self.scale * linear(linear(x, self.down[one]), self.up[one])
        rows = x.reshape(self.turn.n, -1, x.shape[-1])
        added = torch.bmm(torch.bmm(rows, self.down.mT), self.up.mT)
        return before + self.scale * added.reshape(before.shape)


@dataclass(frozen=True)
class Stack:
    """A base model that carries the adapters of several runs.

    Parameters
    ----------
    model : PreTrainedModel
        The base model, its layers replaced.
    adapters : tuple of StackedAdapters
        Those layers.
    turn : Turn
        Shared by them.
    """

    model: Any
    adapters: tuple[StackedAdapters, ...]
    turn: Turn

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained: shape (runs, ...) each."""
        return [parameter for one in self.adapters for parameter in (one.down, one.up)]

    def clip(self, max_norm: float) -> None:
        """Scale each run's gradients down to a norm, as `clip_grad_norm_` does for one run."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        squares = torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0)
        factor = (max_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor[:, None, None])

    def accumulate_gradients(
        self, batches: Sequence[Sequence[TargetSequence]], micro_budget: int
    ) -> list[float]:
        """Add every run's gradient of its batch's mean loss per target; return those means.

        Parameters
        ----------
        batches : sequence of sequences of TargetSequence
            One batch per run.
        micro_budget : int
            Tokens of all runs together whose activations exist at one time, about.
        """
        run = PackedModel(self.model, _NO_PREFIX)
        counts = [sum(s.n_targets for s in batch) for batch in batches]
        n_tokens = sum(s.n_inputs for batch in batches for s in batch)
        n_cuts = min(-(-n_tokens // micro_budget), max(map(len, batches)))
        totals = torch.zeros(len(batches), dtype=torch.float64)
        for cut in range(n_cuts):
            micro = [b[len(b) * cut // n_cuts : len(b) * (cut + 1) // n_cuts] for b in batches]
            losses = target_losses(run, [s for own in evened(micro) for s in own])
            sizes = [sum(s.n_targets for s in own) for own in micro]
            parts = zip(torch.split(losses, sizes), counts, strict=True)
            means = torch.stack([part.sum() / count for part, count in parts])
            means.sum().backward()  # type: ignore[no-untyped-call]
            totals += means.detach().cpu()
        found: list[float] = totals.tolist()
        return found


@contextmanager
def stacked(base: Any, setting: TrainingSetting, seeds: Sequence[int]) -> Iterator[Stack]:
    """Lend `base` with one adapter per seed, begun as each would be alone.

    Parameters
    ----------
    base : PreTrainedModel
        Frozen, for which `stacks` holds; on leaving it is as it was.
    setting : TrainingSetting
        With method ``"lora"``.
    seeds : sequence of int
        Training seed of each run.
    """
    begun = [_beginning(base, setting, seed) for seed in seeds]
    turn = Turn(len(seeds))
    layers = {
        name: StackedAdapters(
            base.get_submodule(name),
            [one[name] for one in begun],
            setting.alpha / setting.rank,
            turn,
        )
        for name in begun[0]
    }
    try:
        for name, layer in layers.items():
            base.set_submodule(name, layer)
        yield Stack(base, tuple(layers.values()), turn)
    finally:
        for name, layer in layers.items():
            base.set_submodule(name, layer.base)


def stacks(base: Any, setting: TrainingSetting) -> bool:
    """Whether runs of `setting` can be trained side by side: adapters on plain layers."""
    if setting.method != "lora":
        return False
    wanted = [
        module
        for name, module in base.named_modules()
        if name.rpartition(".")[2] in setting.target_modules
    ]
    return all(type(module) is torch.nn.Linear for module in wanted)


def _beginning(base: Any, setting: TrainingSetting, seed: int) -> Mapping[str, torch.Tensor]:
    """Name of each layer that gets an adapter, and the first matrix PEFT gives it."""
    torch.manual_seed(seed)
    found = {}
    with trainable(base, setting) as model:
        for name, module in model.get_base_model().named_modules():
            if hasattr(module, "lora_A"):
                (adapter,) = module.lora_A.values()
                found[name] = adapter.weight.detach().clone()
    return found


def evened(batches: Sequence[Sequence[TargetSequence]]) -> list[list[TargetSequence]]:
    """Give every batch as many tokens as the longest has, by sequences that carry no loss."""
    wanted = max(sum(s.n_inputs for s in batch) for batch in batches)
    longest = max(s.n_inputs for batch in batches for s in batch)
    found = []
    for batch in batches:
        lacking = wanted - sum(s.n_inputs for s in batch)
        pieces = [longest] * (lacking // longest) + [lacking % longest] * (lacking % longest > 0)
        blanks = [TargetSequence(np.zeros(n + 1, dtype=np.int32), 0) for n in pieces]
        found.append([*batch, *blanks])
    return found
