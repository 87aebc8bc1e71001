"""Negative log-likelihoods of target tokens: the one numeric path of scoring and training.

The language-model head is applied to the positions that predict a target and to no
others, a chunk at a time, so a [batch, time, vocabulary] tensor never exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from instructmining.models.layers import decoder_of, watching

#: Positions whose logits exist at one time: 256 x 49,152 x 4 bytes is 50 MB. An accelerator
#: would wait for work between chunks that small.
HEAD_CHUNK = 256
GPU_HEAD_CHUNK = 4_096
# Positions turned from logits into losses at one time: few enough to stay in the cache.
_LOSS_BLOCK = 16


@dataclass(frozen=True, slots=True)
class TargetSequence:
    """Token ids of which the last `n_targets` are predicted from all before them.

    Parameters
    ----------
    ids : ndarray of int32
        Context and targets.
    n_targets : int
        How many of the last ids are targets; at least one id stands before them.
    """

    ids: np.ndarray
    n_targets: int

    @property
    def n_inputs(self) -> int:
        """Tokens the model is fed: the last target is predicted, never read."""
        return len(self.ids) - 1


class PrefixCache:
    """Keys and values of a token prefix that many sequences share, computed once.

    Parameters
    ----------
    model : PreTrainedModel
        Causal language model; its weights must not change while the cache is in use.
    ids : ndarray of int32, shape (p,)
        The prefix.
    """

    def __init__(self, model: Any, ids: np.ndarray) -> None:
        from transformers import DynamicCache

        tokens = torch.as_tensor(ids, dtype=torch.long, device=model.device)[None]
        with torch.inference_mode():
            self._cache = DynamicCache(config=model.config)
            decoder_of(model)(input_ids=tokens, past_key_values=self._cache, use_cache=True)
        self.length = len(ids)

    def expand(self, n: int) -> Any:
        """Return a fresh cache that holds the prefix for each of `n` sequences."""
        # A copy knows how many tokens came by even where a sliding window kept only the last.
        cache = deepcopy(self._cache)
        cache.batch_repeat_interleave(n)
        return cache


def target_losses(
    model: Any, batch: Sequence[TargetSequence], prefix: PrefixCache | None = None
) -> torch.Tensor:
    """Negative log-likelihood of every target token of a batch.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        Causal language model.
    batch : sequence of TargetSequence
        Sequences of similar length; shorter ones are padded on the right.
    prefix : PrefixCache, optional
        Tokens that stand before every sequence and are not part of its ids.

    Returns
    -------
    Tensor of float32, shape (sum of n_targets,)
        In nats, sequence after sequence. Carries gradients where the model does.
    """
    rows, columns, targets = (part.to(model.device) for part in _positions(batch))
    picked = _hidden_states(model, batch, prefix)[rows, columns]
    head = model.get_output_embeddings()
    if torch.is_grad_enabled() and picked.requires_grad:
        return _losses_with_gradient(picked, head, targets)
    return _losses_without_gradient(picked, head, targets)


def target_losses_and_states(
    model: Any,
    batch: Sequence[TargetSequence],
    prefix: PrefixCache | None,
    layers: Sequence[int],
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Losses as `target_losses` gives them, and the states some layers had by the way.

    Parameters
    ----------
    model, batch, prefix
        As for `target_losses`.
    layers : sequence of int
        Which layers, counted as by `layers.watching`.

    Returns
    -------
    losses : Tensor of float32, shape (sum of n_targets,)
        In nats, sequence after sequence.
    states : dict of Tensor, shape (sum of n_targets, hidden size)
        By layer, at the positions the targets were predicted from: one before each.
    """
    decoder = decoder_of(model)
    # A packed model knows where its states stand.
    watch = getattr(decoder, "watching", partial(watching, decoder))
    with watch(layers) as seen:
        losses = target_losses(model, batch, prefix)
    rows, columns, _ = (part.to(model.device) for part in _positions(batch))
    return losses, {layer: seen[layer][rows, columns] for layer in seen}


def sums_per_sequence(losses: torch.Tensor, batch: Sequence[TargetSequence]) -> np.ndarray:
    """Add up `losses` of one batch by sequence: float64, shape (len(batch),), in nats."""
    flat = losses.detach().double().cpu().numpy()
    counts = np.asarray([sequence.n_targets for sequence in batch])
    # Differences of a running sum would round; each sequence is summed on its own.
    return np.asarray([part.sum() for part in np.split(flat, np.cumsum(counts)[:-1])])


def _hidden_states(
    model: Any, batch: Sequence[TargetSequence], prefix: PrefixCache | None
) -> torch.Tensor:
    width = max(sequence.n_inputs for sequence in batch)
    before = prefix.length if prefix else 0
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros((len(batch), before + width), dtype=torch.long)
    for row, sequence in enumerate(batch):
        ids[row, : sequence.n_inputs] = torch.from_numpy(sequence.ids[:-1].astype(np.int64))
        mask[row, : before + sequence.n_inputs] = 1
    decoder = decoder_of(model)
    place = getattr(decoder, "reads_from", model.device)
    states: torch.Tensor = decoder(
        input_ids=ids.to(place),
        attention_mask=mask.to(place),
        past_key_values=prefix.expand(len(batch)) if prefix else None,
        use_cache=prefix is not None,
    ).last_hidden_state
    return states


def _positions(
    batch: Sequence[TargetSequence],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows and columns of the hidden states that predict a target, and the targets."""
    rows, columns, targets = [], [], []
    for row, sequence in enumerate(batch):
        first = len(sequence.ids) - sequence.n_targets
        rows.append(np.full(sequence.n_targets, row))
        columns.append(np.arange(first - 1, len(sequence.ids) - 1))
        targets.append(sequence.ids[first:].astype(np.int64))
    return (
        torch.from_numpy(np.concatenate(rows)),
        torch.from_numpy(np.concatenate(columns)),
        torch.from_numpy(np.concatenate(targets)),
    )


def _chunks(
    hidden: torch.Tensor, targets: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    chunk = _head_chunk(hidden.device)
    return zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)


def _head_chunk(device: torch.device) -> int:
    return HEAD_CHUNK if device.type == "cpu" else GPU_HEAD_CHUNK


def _loss_block(device: torch.device) -> int:
    return _LOSS_BLOCK if device.type == "cpu" else GPU_HEAD_CHUNK


def _chunk_losses(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # States may come in a wider number format than the head multiplies in.
    return cross_entropy(head(hidden.to(head.weight.dtype)).float(), targets, reduction="none")


def _is_matrix(head: Any) -> bool:
    """Whether the head is a product with its weight and nothing else: no bias, no adapters."""
    return type(head) is torch.nn.Linear and head.bias is None


def _losses_without_gradient(
    hidden: torch.Tensor, head: Any, targets: torch.Tensor
) -> torch.Tensor:
    if not _is_matrix(head):
        return torch.cat([_chunk_losses(head, *chunk) for chunk in _chunks(hidden, targets)])
    losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    # One buffer for all chunks: memory fresh from the system costs as much as the losses.
    hidden = hidden.to(head.weight.dtype)
    chunk = _head_chunk(hidden.device)
    buffer = hidden.new_empty((min(chunk, len(targets)), len(head.weight)))
    for start in range(0, len(targets), chunk):
        part = hidden[start : start + chunk]
        logits = torch.mm(part, head.weight.T, out=buffer[: len(part)])
        block = _loss_block(hidden.device)
        for first in range(0, len(part), block):
            rows = slice(start + first, start + min(first + block, len(part)))
            some = logits[first : first + block].float()
            if logits.dtype != torch.float32:
                _sharpen(some, hidden[rows], head.weight, targets[rows])
            losses[rows] = cross_entropy(some, targets[rows], reduction="none")
    return losses


def _sharpen(
    logits: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
) -> None:
    """Put the two logits of each row that count most, its largest and its target's, in float32.

    Rounded to bfloat16 on their way out of the product, logits near 20 are off by up to 0.06.
    The many small ones average out; these two do not.
    """
    chosen = torch.stack([logits.argmax(-1), targets], dim=1)
    exact = (hidden[:, None].float() * weight[chosen].float()).sum(-1)
    logits.scatter_(1, chosen, exact)


def _losses_with_gradient(hidden: torch.Tensor, head: Any, targets: torch.Tensor) -> torch.Tensor:
    # Anything but a frozen matrix (a bias, adapters, training) is left to autograd.
    if not _is_matrix(head) or head.weight.requires_grad:
        from torch.utils.checkpoint import checkpoint

        return torch.cat(
            [
                checkpoint(_chunk_losses, head, *chunk, use_reentrant=False)
                for chunk in _chunks(hidden, targets)
            ]
        )
    losses: torch.Tensor = _FrozenHead.apply(hidden, head.weight, targets)  # type: ignore[no-untyped-call]
    return losses


class _FrozenHead(torch.autograd.Function):
    """Losses through a head that is not trained.

    The gradient with respect to the hidden states is formed in the forward pass, while
    a chunk's probabilities are at hand; storing or recomputing them would cost a third
    matrix product or the memory that chunking saves.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        chunk, block = _head_chunk(hidden.device), _loss_block(hidden.device)
        states = hidden.to(weight.dtype)
        buffer = states.new_empty((min(chunk, len(targets)), len(weight)))
        for start in range(0, len(targets), chunk):
            part = states[start : start + chunk]
            logits = torch.mm(part, weight.T, out=buffer[: len(part)])
            for first in range(0, len(part), block):
                rows = slice(start + first, start + min(first + block, len(part)))
                wanted = targets[rows, None]
                some = torch.log_softmax(logits[first : first + block].float(), dim=-1)
                losses[rows] = -some.gather(1, wanted)[:, 0]
                # The logits give way to their gradient.
                some.exp_().scatter_add_(1, wanted, some.new_full((len(some), 1), -1.0))
                logits[first : first + block] = some
            gradient[start : start + len(part)] = logits @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0][:, None].to(gradient.dtype), None, None
