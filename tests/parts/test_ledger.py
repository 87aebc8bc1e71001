"""A budget settled from totals keeps the rows that `choose` keeps of the whole ranking."""

from __future__ import annotations

import numpy as np
import pytest

from instructmining.parts.ledger import Ledger
from instructmining.parts.ranking import Range, places_of
from instructmining.selection.budget import Rows, Tokens, resolve
from instructmining.selection.choose import Choice, choose
from instructmining.selection.quota import Shares, parse_quota


def ledger_of(group: np.ndarray, cost: np.ndarray, ends: list[int], n_groups: int):
    """Return a ledger of a ranking cut at some ranks, and the numbers of the ranges it reads."""
    pieces = list(zip(np.split(group, ends), np.split(cost, ends), strict=True))
    ranges = [
        Range(np.bincount(g, minlength=n_groups), np.bincount(g, c, n_groups).astype(int))
        for g, c in pieces
    ]
    read: list[int] = []

    def give(number: int):
        read.append(number)
        return pieces[number]

    return Ledger(ranges, give), read


QUOTAS = ("task", "task=a:50%", "task=a:0,b:0", "task=a:10%,b:10%,c:10%,d:10%", "task=a:90%,b:0")


@pytest.mark.parametrize("seed", range(150))
def test_the_rows_kept_are_those_of_the_whole_ranking(seed):
    rng = np.random.default_rng(seed)
    n, n_groups = int(rng.integers(1, 60)), 4
    group = rng.choice(n_groups, n, p=[0.55, 0.3, 0.1, 0.05])
    in_tokens = seed % 2 == 0
    cost = rng.integers(1, 30, n) if in_tokens else np.ones(n, dtype=int)
    ends = np.sort(rng.integers(0, n + 1, int(rng.integers(0, 6)))).tolist()
    total = int(rng.integers(1, 1 + (cost.sum() if in_tokens else n) * 6 // 5 + 1))
    rows = tuple((np.bincount(group, minlength=n_groups) + rng.integers(0, 9, n_groups)).tolist())
    shares = Shares(parse_quota(QUOTAS[seed % len(QUOTAS)]), ("a", "b", "c", "d"), rows)
    if not sum(rows[2:]) and seed % len(QUOTAS) == 2:
        return
    ledger, _ = ledger_of(group, cost, ends, n_groups)

    wanted = choose(total, cost, shares, group, None)
    verdict = ledger.settle(Tokens(total) if in_tokens else Rows(total), n, shares)

    rank = np.arange(n)
    kept = verdict.keeps(rank, group, places_of(group))
    assert kept.tolist() == wanted.kept.tolist()
    passed_over = verdict.passes_over(rank, group) & ~kept
    assert passed_over.tolist() == (wanted.passed_over & ~wanted.kept).tolist()
    assert verdict.allowances == wanted.allowances
    assert verdict.kept.tolist() == np.bincount(group[kept], minlength=n_groups).tolist()
    assert verdict.spent.tolist() == np.bincount(group[kept], cost[kept], n_groups).tolist()
    assert verdict.last == np.flatnonzero(wanted.kept).max(initial=-1)


@pytest.mark.parametrize("seed", range(30))
def test_without_groups_a_budget_is_a_front(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40))
    group, cost = np.zeros(n, dtype=int), rng.integers(1, 9, n)
    ledger, _ = ledger_of(group, cost, [n // 3, n // 3, n // 2], 1)
    budget = Tokens(int(rng.integers(1, 200)))
    wanted = Choice.front(n, resolve(budget, n, cost))
    verdict = ledger.settle(budget, n, None)
    assert verdict.keeps(np.arange(n), group, np.arange(n)).tolist() == wanted.kept.tolist()
    assert verdict.spent.tolist() == [cost[wanted.kept].sum()]


def test_only_ranges_in_which_a_part_ends_are_read():
    rng = np.random.default_rng(0)
    group, cost = rng.integers(0, 2, 1_000), rng.integers(1, 9, 1_000)
    ledger, read = ledger_of(group, cost, list(range(10, 1_000, 10)), 2)
    shares = Shares(parse_quota("task"), ("a", "b"), (500, 500))
    ledger.settle(Tokens(2_000), 1_000, shares)
    assert 1 <= len(set(read)) <= 4
