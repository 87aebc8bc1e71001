"""Fine-tune a base model on a mixture, in a loop of our own.

The loop feeds the same ids, labels and losses that scoring and evaluation use; a test
holds it against TRL's. On a processor it is faster because the head sees only the
positions that carry a loss, no padding is run, and what all prompts begin with is run
once per micro-batch (see docs/results.md).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from instructmining.errors import ExperimentError
from instructmining.evaluation.inference_loss import training_sequence
from instructmining.examples import Example
from instructmining.experiments.tuning.checkpoint import Checkpoint, kept_until_done
from instructmining.experiments.tuning.methods import n_frozen, trainable
from instructmining.experiments.tuning.stacked import Stack, stacked, stacks
from instructmining.experiments.tuning.training import TOGETHER, Job, TrainingSetting, Tuned
from instructmining.models.batching import plan_batches
from instructmining.models.causal import load_causal_lm
from instructmining.models.chat import ChatTokenizer
from instructmining.models.frozen import FrozenStates
from instructmining.models.layers import splits
from instructmining.models.likelihood import TargetSequence, target_losses
from instructmining.models.packed import PackedModel, packed, packs
from instructmining.models.remembered import RememberingTokenizer
from instructmining.models.runtime import pick_device, pick_dtype, training_budget
from instructmining.models.sources import ModelFiles, resolve

BatchT = TypeVar("BatchT")

# A batch of each of several runs.
Batches = tuple[list[TargetSequence], ...]


@dataclass
class Finetuner:
    """Tunes a model on mixtures; the base model is loaded once and had back after each.

    Parameters
    ----------
    files : ModelFiles
        The base model.
    setting : TrainingSetting
        How to train.
    together : int, optional
        Runs trained side by side, where their method allows it; by default one on a
        processor, which a single run keeps busy, and `training.TOGETHER` on an accelerator.
    unfinished : Path, optional
        Folder for the states of runs under way. A run that was stopped, tuned again on the
        same rows, goes on from its last state; see `checkpoint.Checkpoint`.

    Attributes
    ----------
    frozen : FrozenStates or None
        Where only the last layers are trained: what those below them put out, shared by all
        runs and their evaluation. None where nothing is frozen below what is trained, or
        the model cannot be cut.

    Raises
    ------
    ExperimentError
        If the setting asks for more layers than the model has.
    ModelError
        If the model cannot be loaded.
    """

    files: ModelFiles
    setting: TrainingSetting
    together: int | None = None
    unfinished: Path | None = None
    chat: ChatTokenizer = field(init=False)
    base: Any = field(init=False, repr=False)
    frozen: FrozenStates | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        device = pick_device()
        self.chat = RememberingTokenizer(self.files.folder, max_tokens=self.setting.max_tokens)
        self.base = load_causal_lm(self.files, device, pick_dtype(device))
        self.base.requires_grad_(False)
        first = n_frozen(self.base, self.setting)
        if first and packs(self.base) and splits(self.base, first):
            self.frozen = FrozenStates(self.base, first, self.chat.prefix)
        if self.frozen or not (packs(self.base) and stacks(self.base, self.setting)):
            self.together = 1
        elif self.together is None:
            self.together = 1 if device.type == "cpu" else TOGETHER

    @classmethod
    def by_name(
        cls,
        name: str,
        setting: TrainingSetting,
        together: int | None = None,
        unfinished: Path | None = None,
    ) -> Finetuner:
        """Make one from a model's name or path."""
        return cls(resolve(name), setting, together, unfinished)

    @contextmanager
    def tuned(
        self,
        examples: Sequence[Example],
        *,
        seed: int,
        steps_per_epoch: int | None = None,
        steps: int | None = None,
    ) -> Iterator[Any]:
        """Yield the base model tuned on `examples`; on leaving, it is the base model again.

        Parameters
        ----------
        examples : sequence of Example
            The mixture; order does not matter, the seed shuffles it.
        seed : int
            Seed of the adapters and of the order.
        steps_per_epoch : int, optional
            Optimiser steps the shuffled rows of every epoch are divided into, so that mixtures
            of other sizes can be trained for as many steps; by default a step takes the
            setting's `batch_size`.
        steps : int, optional
            Optimiser steps in all, in place of the setting's epochs.

        Raises
        ------
        ExperimentError
            If there is nothing to train on, fewer examples than steps, or the loss is no
            longer a number.
        """
        with self._alone(Job(examples, seed, steps_per_epoch, steps)) as (model, _):
            yield model

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        """Tune on several mixtures side by side and give the tuned models, one after the other.

        Each is the model `tuned` gives, to rounding; jobs of as many steps run side by side.
        A model is good until the next is asked for; close the iterator before it is spent.

        Parameters
        ----------
        jobs : sequence of Job
            One, or several where ``together`` is above 1.

        Raises
        ------
        ExperimentError
            As for `tuned`.
        """
        if len(jobs) == 1:
            with self._alone(jobs[0]) as (model, seconds):
                yield Tuned(0, model, seconds)
            return
        prepared = [self._batches(job) for job in jobs]
        for total in sorted({n for _, n in prepared}):
            places = [place for place, (_, n) in enumerate(prepared) if n == total]
            batches = zip(*(prepared[place][0] for place in places), strict=True)
            alike = [jobs[place] for place in places]
            with self._side_by_side(alike, batches, total) as (stack, seconds):
                for number, place in enumerate(places):
                    stack.turn.only = number
                    yield Tuned(place, self.base, seconds / len(places))

    @contextmanager
    def _alone(self, job: Job) -> Iterator[tuple[Any, float]]:
        """Yield the model one run ends with, and the seconds it took."""
        batches, total = self._batches(job)
        path = self._state_of([job], total)
        torch.manual_seed(job.seed)
        with kept_until_done(path), trainable(self.base, self.setting) as model:
            model.train()
            parameters = [p for p in model.parameters() if p.requires_grad]
            run, budget = packed(model, self.chat.prefix, self.frozen), training_budget(self.base)

            def accumulate(batch: Sequence[TargetSequence]) -> list[float]:
                return [accumulate_gradients(run, batch, micro_budget=budget)]

            def clip(max_norm: float) -> None:
                torch.nn.utils.clip_grad_norm_(parameters, max_norm)

            seconds = self._descend(_Descent(parameters, total, accumulate, clip), batches, path)
            model.eval()
            yield model, seconds

    @contextmanager
    def _side_by_side(
        self, jobs: Sequence[Job], batches: Iterable[Batches], total: int
    ) -> Iterator[tuple[Stack, float]]:
        """Yield the adapters of runs of as many steps, and the seconds they took."""
        path = self._state_of(jobs, total)
        seeds = [job.seed for job in jobs]
        with kept_until_done(path), stacked(self.base, self.setting, seeds) as stack:
            self.base.train()
            budget = training_budget(self.base)
            accumulate = partial(stack.accumulate_gradients, micro_budget=budget)
            descent = _Descent(stack.parameters, total, accumulate, stack.clip)
            seconds = self._descend(descent, batches, path)
            self.base.eval()
            yield stack, seconds

    def _state_of(self, jobs: Sequence[Job], total: int) -> Path | None:
        """Name the file of what is known of runs under way, by all that decides them."""
        if self.unfinished is None:
            return None
        runs = [
            [[example.digest for example in job.examples], job.seed, job.steps_per_epoch]
            for job in jobs
        ]
        kind = [str(self.base.device.type), str(self.base.dtype)]
        what = [self.files.weights, self.setting.to_json(), kind, runs, total]
        name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        return self.unfinished / f"{name[:20]}.safetensors"

    def _batches(self, job: Job) -> tuple[Iterator[list[TargetSequence]], int]:
        """Cut a job into the batches of its steps; also say how many steps there are."""
        tokens = self.chat.tokenise(job.examples)
        sequences = [training_sequence(t) for t in tokens if t is not None]
        if not sequences:
            raise ExperimentError("a mixture without a single trainable example; draw another")
        sizes = batch_sizes(len(sequences), self.setting.batch_size, job.steps_per_epoch)
        total = job.steps or len(sizes) * self.setting.epochs
        return islice(_batches(sequences, sizes, random.Random(job.seed)), total), total

    def _descend(
        self, how: _Descent[BatchT], batches: Iterable[BatchT], path: Path | None
    ) -> float:
        """Make one step for each batch; return the seconds that took, earlier ones included."""
        setting = self.setting
        optimiser = torch.optim.AdamW(
            how.parameters, lr=setting.learning_rate, weight_decay=0.0, fused=True
        )
        state = Checkpoint(path, how.parameters, optimiser)
        for batch in islice(batches, state.restore(), None):
            factor = learning_rate_factor(state.steps, how.total, setting.warmup_share)
            optimiser.param_groups[0]["lr"] = setting.learning_rate * factor
            for loss in how.accumulate(batch):
                if not math.isfinite(loss):
                    raise ExperimentError(
                        f"the training loss became {loss}; lower the learning rate "
                        f"(now {setting.learning_rate:g})"
                    )
            how.clip(setting.max_gradient_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            state.advance()
        return state.seconds


@dataclass(frozen=True)
class _Descent(Generic[BatchT]):
    """What is trained, for how many steps, how a batch's gradients are added and clipped."""

    parameters: Sequence[torch.nn.Parameter]
    total: int
    accumulate: Callable[[BatchT], Sequence[float]]
    clip: Callable[[float], object]


def batch_sizes(n: int, batch_size: int, steps: int | None = None) -> list[int]:
    """Say how many of `n` examples each optimiser step of an epoch takes.

    Parameters
    ----------
    n, batch_size : int
        Examples of an epoch, and of a step; the last step takes what is left.
    steps : int, optional
        So many steps instead, whose sizes differ by at most one.

    Raises
    ------
    ExperimentError
        If there are fewer examples than steps.
    """
    if steps is None:
        return [min(batch_size, n - start) for start in range(0, n, batch_size)]
    if not 1 <= steps <= n:
        raise ExperimentError(
            f"{steps} steps an epoch came for {n} trainable examples; a step takes at least one, "
            "give fewer steps or more examples"
        )
    return [n * (i + 1) // steps - n * i // steps for i in range(steps)]


def target_tokens(chat: ChatTokenizer, examples: Sequence[Example]) -> list[int]:
    """Count the tokens of each example that carry a training loss, its end of turn among them.

    Parameters
    ----------
    chat : ChatTokenizer
        The base model's, with the setting's `max_tokens`.
    examples : sequence of Example
        Rows that may be trained on.

    Returns
    -------
    list of int
        0 where the chat template refuses the turns, so that nothing is trained on.
    """
    return [
        0 if tokens is None else training_sequence(tokens).n_targets
        for tokens in chat.tokenise(examples)
    ]


def learning_rate_factor(step: int, total: int, warmup_share: float) -> float:
    """Share of the peak rate at `step` of `total`: linear warm-up, then a cosine to zero."""
    warmup = max(1, round(total * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def accumulate_gradients(
    model: Any, batch: Sequence[TargetSequence], *, micro_budget: int = 1_024
) -> float:
    """Add the gradient of the batch's mean loss per target token; return that mean.

    The mean is over all targets of the batch, however it is cut into micro-batches.

    Parameters
    ----------
    model : PreTrainedModel, PeftModel or PackedModel
        In training mode.
    batch : sequence of TargetSequence
        Examples of one optimiser step.
    micro_budget : int
        Tokens, padding included where the model is run padded, whose activations exist at
        one time.
    """
    n_targets = sum(sequence.n_targets for sequence in batch)
    costs = [sequence.n_inputs for sequence in batch]
    if isinstance(model, PackedModel):
        micros = _filled(costs, micro_budget)
    else:
        micros = [list(m) for m in plan_batches(costs, [""] * len(costs), micro_budget)]
    total = 0.0
    for micro in micros:
        loss = target_losses(model, [batch[i] for i in micro]).sum() / n_targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _filled(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Cut positions, in order, into runs whose costs add up to at most `budget`."""
    found: list[list[int]] = []
    room = 0
    for position, cost in enumerate(costs):
        if not found or cost > room:
            found.append([])
            room = budget
        found[-1].append(position)
        room -= cost
    return found


def _batches(
    sequences: Sequence[TargetSequence], sizes: Sequence[int], order: random.Random
) -> Iterator[list[TargetSequence]]:
    """Go over the sequences again and again, each time in another order."""
    while True:
        shuffled = list(range(len(sequences)))
        order.shuffle(shuffled)
        start = 0
        for size in sizes:
            yield [sequences[i] for i in shuffled[start : start + size]]
            start += size
