"""Attention of sequences laid end to end, each to itself and to the prefix it shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from instructmining.models.grouped import grouped_attention
from instructmining.models.pack import Pack

#: Name under which transformers finds the attention below.
ATTENTION = "instructmining_packed"


def attends_ragged(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `device` has a kernel for sequences of any lengths in one row."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return False
    return find_spec("torch.nn.attention.varlen") is not None


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence to itself and, where it shares it, the prefix.

    Shapes are (1, heads, tokens, head size); one result of shape (1, tokens, heads, head
    size) is returned, as transformers wants it.
    """
    pack: Pack = options["pack"]
    scale = options.get("scaling")
    known = key.shape[2] - query.shape[2]
    if known and not query.is_cuda:
        # The cached prefix asks nothing: blank queries make the problem square.
        blank = query.new_zeros(*query.shape[:2], known, query.shape[3])
        query = torch.cat([blank, query], dim=2)
    if not query.is_cuda and torch.is_autocast_enabled("cpu") and query.requires_grad:
        scale = scale or query.shape[-1] ** -0.5
        found = grouped_attention(query, key, value, pack, scale)[:, :, known:]
        return found.transpose(1, 2), None
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    by = _ragged if query.is_cuda else _one_by_one
    return by((query, key, value), pack, known, scale).transpose(1, 2), None


def _ragged(
    tensors: Sequence[torch.Tensor], pack: Pack, known: int, scale: float | None
) -> torch.Tensor:
    """Attend with the accelerator's kernel for sequences of any lengths in one row."""
    from torch.nn.attention import varlen

    varlen_attn: Callable[..., Any] = varlen.varlen_attn
    laid = pack.ragged(known, tensors[0].device)
    # Turned by its positions a query may be wider than what the kernel multiplies.
    query, key, value = (x[0].transpose(0, 1).to(torch.bfloat16) for x in tensors)
    if laid.places is not None:
        key, value = (x.index_select(0, laid.places) for x in (key, value))
    usual = query.shape[-1] ** -0.5
    if scale is not None and scale != usual:
        query = query * (scale / usual)
    most_asked, most_held = laid.longest
    found: torch.Tensor = varlen_attn(
        query, key, value, laid.queries, laid.keys, most_asked, most_held, **_causal_option()
    )
    return found.transpose(0, 1)[None]


@cache
def _causal_option() -> dict[str, Any]:
    """Say that nobody looks ahead, in the words of the torch that is installed."""
    from torch.nn.attention.varlen import varlen_attn

    windows = "window_size" in signature(varlen_attn).parameters  # since torch 2.11
    return {"window_size": (-1, 0)} if windows else {"is_causal": True}


def _one_by_one(
    tensors: Sequence[torch.Tensor], pack: Pack, known: int, scale: float | None
) -> torch.Tensor:
    # Cut once: the gradient of a slice is as long as what it was cut from.
    sizes = [pack.n_prefix, *(stop - start for start, stop, _ in pack.parts)]
    rows = zip(*(torch.split(x, sizes, dim=2) for x in tensors), strict=True)
    shared = next(rows)
    found = [_causal(shared, scale)] if pack.n_prefix > known else []
    for part, (_, _, sharing) in zip(rows, pack.parts, strict=True):
        if not sharing:
            found.append(_causal(part, scale))
            continue
        # The prefix's own queries are run with each: a square problem needs no mask.
        whole = [torch.cat(pair, dim=2) for pair in zip(shared, part, strict=True)]
        found.append(_causal(whole, scale)[:, :, pack.n_prefix :])
    return torch.cat(found, dim=2)


def _causal(parts: Sequence[torch.Tensor], scale: float | None) -> torch.Tensor:
    query, key, value = parts
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Let `model` attend as `_attend` does; where no mask function is known none is built."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.config._attn_implementation
    base.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        base.set_attn_implementation(before)
