"""Causal attention with gradients of its own, for processors that multiply bfloat16.

Sequences of similar length are attended side by side, padded at their ends. The processor's kernel
is slow at gradients in bfloat16, and what autograd would keep and copy costs as much as the
products: written out, an attention takes about half the time (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from instructmining.models.pack import Pack

#: Longest sequences whose probabilities are kept for the backward pass; of longer ones they are
#: formed again.
_KEPT = 512
#: Scores that exist at one time, about: 32 MB of them.
_SCORES = 1 << 24


def grouped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, scale: float
) -> torch.Tensor:
    """Causal attention of each sequence of a pack to itself and the prefix it shares.

    Scores are rounded to bfloat16: good enough to train by, not for losses that are read.

    Parameters
    ----------
    query : Tensor, shape (1, heads, tokens, size)
        Of every token of the row.
    key, value : Tensor, shape (1, key heads, tokens, size)
        Of as many heads, or of fewer that several query heads share.
    pack : Pack
        Where sequences stand.
    scale : float
        What scores are multiplied by.

    Returns
    -------
    Tensor of bfloat16, shape (1, heads, tokens, size)
        Carries gradients to all three.
    """
    found: torch.Tensor = _Grouped.apply(query, key, value, pack, scale)  # type: ignore[no-untyped-call]
    return found


class _Group(NamedTuple):
    """Sequences of one width: queries of the heads that share a key stand one after the other."""

    query: torch.Tensor  # (key heads * sequences, shared * width, size)
    key: torch.Tensor  # (key heads * sequences, width, size)
    value: torch.Tensor
    shared: int

    @property
    def width(self) -> int:
        """Tokens of each, padding included."""
        return self.key.shape[1]

    def empty(self) -> _Group:
        """Return room for the gradients."""
        rows = (self.query, self.key, self.value)
        query, key, value = (torch.empty_like(x) for x in rows)
        return _Group(query, key, value, self.shared)

    def slices(self) -> Iterator[slice]:
        """Cut the batch into parts whose scores fit."""
        step = max(1, _SCORES // (self.query.shape[1] * self.width))
        return (slice(i, i + step) for i in range(0, len(self.key), step))

    def probabilities(self, part: slice, scale: float) -> torch.Tensor:
        """Say how much of each value every query takes."""
        later = self.key.new_full((self.width, self.width), -torch.inf).triu_(1)
        query, key = self.query[part], self.key[part]
        mask = later.repeat(self.shared, 1).expand(len(key), -1, -1)
        return torch.softmax(torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale), dim=-1)


class _Grouped(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        pack: Pack,
        scale: float,
    ) -> torch.Tensor:
        heads, n_keys = query.shape[1], key.shape[1]
        # A vector taken from every key changes no softmax; scores nearer to 0 are rounded less.
        centred = key[0] - key[0].mean(1, keepdim=True, dtype=torch.float32)
        rows = [x.to(torch.bfloat16) for x in (query[0], centred, value[0])]
        found, kept = [], []
        for places in pack.groups:
            group = _group(rows, places, heads // n_keys)
            answer = torch.empty_like(group.query)
            parts = []
            for part in group.slices():
                parts.append(group.probabilities(part, scale))
                torch.bmm(parts[-1], group.value[part], out=answer[part])
                if group.width > _KEPT:
                    parts.clear()
            kept += [group.query, group.key, group.value, *parts]
            found.append(_by_token(answer, places, n_keys))
        ctx.save_for_backward(*kept)
        ctx.given = (pack, scale, [x.dtype for x in (query, key, value)], (heads, n_keys))
        return torch.cat(found, dim=1).index_select(1, pack.back)[None]

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pack, scale, dtypes, (heads, n_keys) = ctx.given
        (above,) = upstream
        n_places = sum(places.numel() for places in pack.groups)
        above = above.new_zeros(heads, n_places, above.shape[-1]).index_copy_(
            1, pack.back, above[0]
        )
        kept = iter(ctx.saved_tensors)
        of_query = []
        # Of a prefix all sequences' gradients are added up, which bfloat16 would round.
        size = above.shape[-1]
        of_rows = torch.zeros(2, n_keys, len(pack.back), size, dtype=torch.float32)
        for places, own in zip(
            pack.groups, torch.split(above, [x.numel() for x in pack.groups], dim=1), strict=True
        ):
            group = _Group(next(kept), next(kept), next(kept), heads // n_keys)
            gradient = group.empty()
            lead = _by_key(own, places, n_keys)
            for part in group.slices():
                known = group.width <= _KEPT
                likely = next(kept) if known else group.probabilities(part, scale)
                torch.bmm(likely.transpose(1, 2), lead[part], out=gradient.value[part])
                wanted = torch.bmm(lead[part], group.value[part].transpose(1, 2))
                steep = torch._softmax_backward_data(wanted, likely, -1, likely.dtype)
                torch.bmm(steep, group.key[part], out=gradient.query[part])
                torch.bmm(steep.transpose(1, 2), group.query[part], out=gradient.key[part])
            of_query.append(_by_token(gradient.query, places, n_keys))
            for rows, own_rows in zip(of_rows, (gradient.key, gradient.value), strict=True):
                rows.index_add_(1, places.flatten(), _by_token(own_rows, places, n_keys).float())
        # Only one copy of the prefix's queries was read.
        query = torch.cat(of_query, dim=1).index_select(1, pack.back)
        found = (query * scale, of_rows[0] * scale, of_rows[1])
        return (*(x[None].to(kind) for x, kind in zip(found, dtypes, strict=True)), None, None)


def _group(rows: list[torch.Tensor], places: torch.Tensor, shared: int) -> _Group:
    n_keys = len(rows[1])
    picked = (x.index_select(1, places.flatten()) for x in rows)
    query, key, value = (_by_key(x, places, n_keys) for x in picked)
    return _Group(query, key, value, shared)


def _by_key(rows: torch.Tensor, places: torch.Tensor, n_keys: int) -> torch.Tensor:
    """Turn (heads, sequences * width, size) to (key heads * sequences, shared * width, size)."""
    n, width = places.shape
    shared, size = len(rows) // n_keys, rows.shape[-1]
    parted = rows.view(n_keys, shared, n, width, size).transpose(1, 2)
    return parted.reshape(n_keys * n, shared * width, size)


def _by_token(rows: torch.Tensor, places: torch.Tensor, n_keys: int) -> torch.Tensor:
    """Undo `_by_key`."""
    n, width = places.shape
    shared, size = rows.shape[1] // width, rows.shape[-1]
    parted = rows.view(n_keys, n, shared, width, size).transpose(1, 2)
    return parted.reshape(n_keys * shared, n * width, size)
