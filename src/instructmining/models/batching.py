"""Batches by token budget over length-sorted items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(costs: Sequence[int], groups: Sequence[str], budget: int) -> list[np.ndarray]:
    """Group items of similar cost so that padding is small and no batch is too large.

    The plan is a pure function of its arguments, so an interrupted run that plans over
    the same pool meets the same batches, and with them the same rounding.

    Parameters
    ----------
    costs : sequence of int
        Tokens per item.
    groups : sequence of str
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
    order = np.lexsort((np.arange(len(cost)), -cost, np.asarray(groups, dtype=object).astype(str)))
    batches: list[np.ndarray] = []
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and _fits(order[start : end + 1], cost, groups, budget):
            continue
        batches.append(order[start:end])
        start = end
    batches.sort(key=lambda batch: (-int(cost[batch[0]]), str(groups[batch[0]]), int(batch[0])))
    return batches[:1] + _mixed(batches[1:])


def _mixed(batches: list[np.ndarray]) -> list[np.ndarray]:
    """Spread like with like: steps of the golden section visit a range evenly."""
    turns = np.arange(len(batches)) * 0.6180339887498949 % 1.0
    return [batches[i] for i in np.argsort(turns, kind="stable")]


def _fits(batch: np.ndarray, cost: np.ndarray, groups: Sequence[str], budget: int) -> bool:
    # The first item is the costliest of its batch: costs fall along the order.
    same_group = groups[batch[0]] == groups[batch[-1]]
    return bool(same_group) and len(batch) * int(cost[batch[0]]) <= budget
