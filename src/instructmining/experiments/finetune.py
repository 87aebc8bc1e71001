"""Fine-tune a base model on a mixture, in a loop of our own.

The loop feeds the same ids, labels and losses that scoring and evaluation use; a test
holds it against TRL's. On a processor it is faster because the head sees only the
positions that carry a loss (see docs/results.md).
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from instructmining.errors import ExperimentError
from instructmining.evaluation.inference_loss import training_sequence
from instructmining.examples import Example
from instructmining.models.batching import plan_batches
from instructmining.models.causal import load_causal_lm
from instructmining.models.chat import ChatTokenizer
from instructmining.models.likelihood import TargetSequence, target_losses
from instructmining.models.runtime import pick_device, pick_dtype
from instructmining.models.sources import ModelFiles, resolve


@dataclass(frozen=True)
class TrainingSetting:
    """What decides a fine-tuning run besides its data and its seed.

    Parameters
    ----------
    method : str
        ``"lora"``: low-rank adapters, everything else frozen.
    rank, alpha : int
        Rank and scale of the adapters.
    target_modules : tuple of str
        Names of the linear layers that get one.
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
    """

    method: str = "lora"
    rank: int = 8
    alpha: int = 16
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    epochs: int = 1
    batch_size: int = 8
    max_gradient_norm: float = 1.0
    max_tokens: int = 1_024

    def __post_init__(self) -> None:
        if self.method != "lora":
            raise ExperimentError(f"training method {self.method!r} came; known: lora")
        object.__setattr__(self, "target_modules", tuple(self.target_modules))

    def to_json(self) -> dict[str, Any]:
        """Return the setting as it stands in plans and run logs."""
        return {**asdict(self), "target_modules": list(self.target_modules)}


@dataclass
class Finetuner:
    """Tunes fresh adapters on mixtures; the base model is loaded once and never changed.

    Parameters
    ----------
    files : ModelFiles
        The base model.
    setting : TrainingSetting
        How to train.
    """

    files: ModelFiles
    setting: TrainingSetting
    chat: ChatTokenizer = field(init=False)
    base: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = pick_device()
        self.chat = ChatTokenizer(self.files.folder, max_tokens=self.setting.max_tokens)
        self.base = load_causal_lm(self.files, device, pick_dtype(device))
        self.base.requires_grad_(False)

    @classmethod
    def by_name(cls, name: str, setting: TrainingSetting) -> Finetuner:
        """Make one from a model's name or path."""
        return cls(resolve(name), setting)

    @contextmanager
    def tuned(self, examples: Sequence[Example], *, seed: int) -> Iterator[Any]:
        """Yield the base model tuned on `examples`; on leaving, it is the base model again.

        Parameters
        ----------
        examples : sequence of Example
            The mixture; order does not matter, the seed shuffles it.
        seed : int
            Seed of the adapters and of the order.

        Raises
        ------
        ExperimentError
            If there is nothing to train on, or the loss is no longer a number.
        """
        sequences = [training_sequence(t) for t in self.chat.tokenise(examples) if t is not None]
        if not sequences:
            raise ExperimentError("a mixture without a single trainable example; draw another")
        torch.manual_seed(seed)
        model = self._with_adapters()
        try:
            self._train(model, sequences, random.Random(seed))
            yield model
        finally:
            self.base = model.unload()
            self.base.requires_grad_(False)

    def _with_adapters(self) -> Any:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=self.setting.rank,
            lora_alpha=self.setting.alpha,
            target_modules=list(self.setting.target_modules),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # PEFT still asks transformers by the old name; users can do nothing about it.
            warnings.filterwarnings(
                "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
            )
            return get_peft_model(self.base, config)

    def _train(self, model: Any, sequences: Sequence[TargetSequence], order: random.Random) -> None:
        setting = self.setting
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=setting.learning_rate, weight_decay=0.0)
        steps_per_epoch = math.ceil(len(sequences) / setting.batch_size)
        total = steps_per_epoch * setting.epochs
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, total, setting.warmup_share)
        )
        model.train()
        for batch in _epochs(sequences, setting.epochs, setting.batch_size, order):
            loss = accumulate_gradients(model, batch)
            if not math.isfinite(loss):
                raise ExperimentError(
                    f"the training loss became {loss}; lower the learning rate "
                    f"(now {setting.learning_rate:g})"
                )
            torch.nn.utils.clip_grad_norm_(parameters, setting.max_gradient_norm)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
        model.eval()


def learning_rate_factor(step: int, total: int, warmup_share: float) -> float:
    """Share of the peak rate at `step` of `total`: linear warm-up, then a cosine to zero."""
    warmup = max(1, round(total * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def accumulate_gradients(
    model: Any, batch: Sequence[TargetSequence], *, micro_budget: int = 768
) -> float:
    """Add the gradient of the batch's mean loss per target token; return that mean.

    The mean is over all targets of the batch, however it is cut into micro-batches.

    Parameters
    ----------
    model : PeftModel
        In training mode.
    batch : sequence of TargetSequence
        Examples of one optimiser step.
    micro_budget : int
        Tokens, padding included, whose activations exist at one time.
    """
    n_targets = sum(sequence.n_targets for sequence in batch)
    costs = [sequence.n_inputs for sequence in batch]
    total = 0.0
    for micro in plan_batches(costs, [""] * len(costs), micro_budget):
        loss = target_losses(model, [batch[i] for i in micro]).sum() / n_targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _epochs(
    sequences: Sequence[TargetSequence], epochs: int, batch_size: int, order: random.Random
) -> Iterator[list[TargetSequence]]:
    for _ in range(epochs):
        shuffled = list(range(len(sequences)))
        order.shuffle(shuffled)
        for start in range(0, len(shuffled), batch_size):
            yield [sequences[i] for i in shuffled[start : start + batch_size]]
