"""Batches: every item once, none over the budget, the same plan every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.models.batching import plan_batches

items = st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["prefix", "plain", ""])))
budgets = st.integers(1, 1_000)


def plan(pairs, budget):
    return plan_batches([cost for cost, _ in pairs], [group for _, group in pairs], budget)


@given(items, budgets)
def test_every_item_is_in_exactly_one_batch(pairs, budget):
    batches = plan(pairs, budget)

    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(pairs)))
    assert all(len(batch) > 0 for batch in batches)


@given(items, budgets)
def test_padded_size_stays_within_the_budget(pairs, budget):
    for batch in plan(pairs, budget):
        padded = len(batch) * max(pairs[i][0] for i in batch)
        assert padded <= budget or len(batch) == 1


@given(items, budgets)
def test_groups_are_never_mixed(pairs, budget):
    for batch in plan(pairs, budget):
        assert len({pairs[i][1] for i in batch}) == 1


@given(items, budgets)
def test_costliest_batch_comes_first(pairs, budget):
    costs = [max(1, *(pairs[i][0] for i in batch)) for batch in plan(pairs, budget)]

    assert costs[:1] == sorted(costs, reverse=True)[:1]


@given(items, budgets)
def test_the_plan_is_a_function_of_its_arguments(pairs, budget):
    first, second = plan(pairs, budget), plan(list(pairs), budget)

    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


def test_a_plan_worked_by_hand():
    batches = plan_batches([2, 9, 3, 3, 40], ["a"] * 5, 10)

    # 40 is over the budget and alone; 9 leaves no room; three items of at most 3 fit.
    assert [batch.tolist() for batch in batches] == [[4], [1], [2, 3, 0]]


def test_items_without_cost_are_counted_as_one():
    assert [len(batch) for batch in plan_batches([0] * 5, ["u"] * 5, 2)] == [2, 2, 1]


@pytest.mark.parametrize("costs", [[], np.asarray([], dtype=np.int64)])
def test_no_items_no_batches(costs):
    assert plan_batches(costs, [], 100) == []


def test_costly_and_cheap_batches_alternate_so_that_an_early_rate_holds():
    costs = list(range(1, 2001))
    batches = plan_batches(costs, [""] * len(costs), 4_000)
    done = np.cumsum([sum(costs[i] for i in batch) for batch in batches])
    share = done / done[-1]
    for part in (0.1, 0.25, 0.5, 0.75):
        assert abs(share[int(part * len(share))] - part) < 0.05
