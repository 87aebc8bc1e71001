"""Batches by token budget over length-sorted items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(
    costs: Sequence[int] | np.ndarray, groups: Sequence[str] | np.ndarray, budget: int
) -> list[np.ndarray]:
    """Group items of similar cost so that padding is small and no batch is too large.

    The plan is a pure function of its arguments, so an interrupted run that plans over
    the same pool meets the same batches, and with them the same rounding.

    Parameters
    ----------
    costs : sequence of int
        Tokens per item.
    groups : sequence of str, or of int
        Items of different groups never share a batch.
    budget : int
        Upper bound of ``len(batch) * max(cost in batch)``; an item over the budget gets
        a batch of its own.

    Returns
    -------
    list of ndarray of int64
        Positions of the items of each batch. The costliest batch comes first, so that
        memory runs out at once or not at all; the others follow mixed by cost, so that
        the rate seen early in a run holds to its end.
    """
    cost = np.maximum(np.asarray(costs, dtype=np.int64), 1)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    order = np.lexsort((-cost, group))
    batches: list[np.ndarray] = []
    start = 0
    for end in np.cumsum(np.bincount(group)).tolist():
        while start < end:
            # The first item is the costliest of its batch: costs fall along the order.
            size = max(1, budget // int(cost[order[start]]))
            batches.append(order[start : min(start + size, end)])
            start += len(batches[-1])
    batches.sort(key=lambda b: (-int(cost[b[0]]), int(group[b[0]]), int(b[0])))
    return batches[:1] + _mixed(batches[1:])


def _mixed(batches: list[np.ndarray]) -> list[np.ndarray]:
    """Spread like with like: steps of the golden section visit a range evenly."""
    turns = np.arange(len(batches)) * 0.6180339887498949 % 1.0
    return [batches[i] for i in np.argsort(turns, kind="stable")]
