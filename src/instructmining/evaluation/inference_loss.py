"""Inference loss: how well a model predicts reference responses it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.models.batching import plan_batches
from instructmining.models.chat import ChatTokenizer, TokenisedExample
from instructmining.models.frozen import FrozenStates
from instructmining.models.likelihood import (
    PrefixCache,
    TargetSequence,
    sums_per_sequence,
    target_losses,
)
from instructmining.models.packed import packed
from instructmining.models.runtime import token_budget


@dataclass(frozen=True)
class InferenceLoss:
    """Losses of one model on one evaluation set of `n` examples.

    Parameters
    ----------
    nll_sums : ndarray of float64, shape (n,)
        Negative log-likelihood of each reference, end of turn included, in nats.
    n_tokens : ndarray of int64, shape (n,)
        Tokens of each reference, end of turn included.
    """

    nll_sums: np.ndarray
    n_tokens: np.ndarray

    @property
    def token_mean(self) -> float:
        """Mean loss per reference token: the paper's dependent variable before the log."""
        return float(self.nll_sums.sum() / self.n_tokens.sum())

    @property
    def example_mean(self) -> float:
        """Mean over examples of the mean loss per token of each."""
        return float((self.nll_sums / self.n_tokens).mean())

    def to_json(self) -> dict[str, Any]:
        """Return the loss as it stands in a run log, per example included."""
        return {
            "n_examples": len(self.n_tokens),
            "n_tokens": int(self.n_tokens.sum()),
            "nll_sum": float(self.nll_sums.sum()),
            "token_mean": self.token_mean,
            "example_mean": self.example_mean,
            "per_example": [
                [round(float(nll), 4), int(n)]
                for nll, n in zip(self.nll_sums, self.n_tokens, strict=True)
            ],
        }


def training_sequence(tokens: TokenisedExample, skip: int = 0) -> TargetSequence:
    """Return prompt, response and end of turn; all but the prompt are targets.

    Parameters
    ----------
    tokens : TokenisedExample
        The example.
    skip : int
        Leading prompt tokens to leave out because a prefix cache holds them.
    """
    # A response that was cut does not end where the cut is.
    cut = "truncated_response" in tokens.flags
    targets = tokens.response if cut else np.append(tokens.response, np.int32(tokens.end))
    return TargetSequence(np.concatenate([tokens.prompt[skip:], targets]), len(targets))


def inference_loss(
    model: Any,
    chat: ChatTokenizer,
    examples: Sequence[Example],
    frozen: FrozenStates | None = None,
) -> InferenceLoss:
    """Measure the loss of `model` on the responses of `examples`.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        Causal language model; put in evaluation mode here.
    chat : ChatTokenizer
        Its tokenizer and template.
    examples : sequence of Example
        Evaluation set; every one must have a response.
    frozen : FrozenStates, optional
        What the layers of `model` below some layer put out; only the layers from there on
        are run. `model` must not differ from the frozen one below it.

    Raises
    ------
    ExperimentError
        If there are no examples, or one has no response the template can render.
    """
    if not examples:
        raise ExperimentError("an evaluation set without examples came; give at least one")
    tokens = chat.tokenise(examples)
    bad = [e.row for e, t in zip(examples, tokens, strict=True) if t is None or not e.scorable]
    if bad:
        raise ExperimentError(
            f"evaluation set of {len(examples)} examples: row {bad[0]} has no response to "
            "measure the loss on, or turns the template refuses; give a file with references"
        )
    usable = [t for t in tokens if t is not None]
    model.eval()
    run = packed(model, chat.prefix, frozen, constant=True)
    costs = [len(t.prompt) + len(t.response) for t in usable]
    groups = ["prefix" if t.has_prefix else "plain" for t in usable]
    budget = token_budget(model.device)
    sums = np.empty(len(usable))
    with torch.inference_mode():
        # A packed model finds the prefix in the sequences itself.
        cached = "prefix" in groups and run is model
        prefix = PrefixCache(model, chat.prefix) if cached else None
        for batch in plan_batches(costs, groups, budget):
            shared = prefix if groups[batch[0]] == "prefix" else None
            skip = shared.length if shared else 0
            sequences = [training_sequence(usable[i], skip) for i in batch]
            sums[batch] = sums_per_sequence(target_losses(run, sequences, shared), sequences)
    counts = np.asarray([training_sequence(t).n_targets for t in usable], dtype=np.int64)
    return InferenceLoss(sums, counts)
