"""A budget shared by a column: rounding, leftovers, and what it makes of each row."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.selection import budget as budgets
from instructmining.selection.budget import Rows, Tokens
from instructmining.selection.quota import Quota, apportion, group_rows, parse_quota
from instructmining.selection.spacing import Spacing
from selection.pools import (
    at_angles,
    chosen_by_hand,
    clustered,
    grouped,
    make_frame,
    near_rows,
    select_by_nll,
)


def select(names, budget, quota="task", *, nll=None, spacing=None, lengths=None):
    n = len(names)
    frame = make_frame(nll if nll is not None else np.arange(float(n)).tolist(), lengths=lengths)
    return select_by_nll(frame, budget, spacing, grouped(names, quota))


def counts(selection) -> dict[str | None, tuple[int, int]]:
    """Return what each group was given and what it kept."""
    groups = selection.params["quota"]["groups"]
    return {one["group"]: (one["share"], one["kept"]) for one in groups}


def test_the_budget_is_shared_as_the_pool_is():
    # Cherry_LLM #10: a rule that prefers prose must not choose the code away.
    selection = select(["prose"] * 60 + ["code"] * 30 + ["maths"] * 10, Rows(10))
    assert counts(selection) == {"code": (3, 3), "maths": (1, 1), "prose": (6, 6)}
    assert selection.kept_rows.tolist() == [0, 1, 2, 3, 4, 5, 60, 61, 62, 90]
    assert selection.decisions["group"].to_list()[59:61] == ["prose", "code"]


def test_a_row_lost_to_the_quota_is_told_from_one_lost_to_the_budget():
    selection = select(["a"] * 4 + ["b"] * 4, Rows(4))
    assert selection.decisions["reason"].to_list() == [
        *["selected"] * 2, *["quota"] * 2, *["selected"] * 2, *["budget"] * 2,
    ]  # fmt: skip


def test_shares_that_are_named():
    names = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    assert counts(select(names, Rows(10), "task=c:50%,a:0.3")) == {
        "a": (3, 3), "b": (2, 2), "c": (5, 5),
    }  # fmt: skip
    # What is not named shares the rest as the pool does.
    assert counts(select(names, Rows(20), "task=c:50%")) == {
        "a": (6, 6), "b": (4, 4), "c": (10, 10),
    }  # fmt: skip
    # Where nothing else is there, the shares named are shares of each other.
    assert counts(select(["a"] * 50 + ["b"] * 50, Rows(10), "task=a:30%,b:20%")) == {
        "a": (6, 6), "b": (4, 4),
    }  # fmt: skip


def test_a_group_with_a_share_of_0_gets_nothing_even_of_what_is_left():
    selection = select(["a"] * 3 + ["b"] * 3 + ["c"] * 3, Rows(8), "task=a:50%,b:50%")
    assert counts(selection) == {"a": (4, 3), "b": (4, 3), "c": (0, 0)}
    assert selection.decisions["reason"].to_list()[6:] == ["quota"] * 3
    assert selection.notes[0].startswith(
        "asked for 8 rows; kept 6: 3 are of groups whose share is 0 (pool of 9:"
    )


def test_what_a_group_cannot_fill_goes_to_the_others_in_proportion():
    names = ["a"] * 40 + ["b"] * 20 + ["c"] * 20
    nll = [*[None] * 40, *np.arange(40.0)]
    nll[0] = 99.0
    selection = select(names, Rows(20), nll=nll)
    assert counts(selection) == {"a": (10, 1), "b": (5, 10), "c": (5, 9)}
    assert len(selection.kept_rows) == 20
    assert selection.notes == (
        "quota of task: not enough rows for the share of a 1 of 10; "
        "what they left went to the others",
    )


def test_rows_without_the_column_are_a_group_of_their_own():
    records = [{"task": "a"}, {"task": None}, {}, {"task": " "}, "not an object", {"task": "a "},
               {"task": float("nan")}]  # fmt: skip
    groups = group_rows(records, Quota("task"))
    assert groups.shares.names == ("a", None)
    assert groups.of.tolist() == [0, 1, 1, 1, 1, 0, 1]
    frame = make_frame(np.arange(7.0).tolist())
    selection = select_by_nll(frame, Rows(4), None, groups)
    assert selection.decisions["group"].to_list() == ["a", None, None, None, None, "a", None]
    assert counts(selection) == {"a": (1, 1), None: (3, 3)}
    named = select_by_nll(frame, Rows(4), None, group_rows(records, parse_quota("task=:25%")))
    assert counts(named) == {"a": (3, 2), None: (1, 2)}


def test_values_of_every_kind_are_names():
    records = [{"x": value} for value in (1, "1", True, 2.5, ["b", "a"], {"k": 1}, "\ud800", "日")]
    groups = group_rows(records, Quota("x"))
    assert set(groups.shares.names) == {
        "1",
        "true",
        "2.5",
        '["b", "a"]',
        '{"k": 1}',
        "\\ud800",
        "日",
    }
    frame = make_frame(np.arange(8.0).tolist())
    assert select_by_nll(frame, Rows(3), None, groups).decisions["group"].null_count() == 0


def test_the_source_of_the_data_stands_in_for_a_column_source():
    groups = group_rows([{"a": 1}, {"a": 2}], Quota("source"), source="pool")
    assert groups.shares.names == ("pool",)
    selection = select_by_nll(make_frame([2.0, 1.0]), Rows(1), None, groups)
    assert selection.kept_rows.tolist() == [1]
    assert selection.notes == ("quota of source: every row is of the same group; nothing to share",)
    own = group_rows([{"source": "x"}, {"source": "y"}], Quota("source"), source="pool")
    assert own.shares.names == ("x", "y")


@pytest.mark.parametrize(
    ("column", "said"),
    [("tsk", "did you mean 'task'?"), ("Task", "did you mean 'task'?"),
     ("language", "there are task, output"), ("source", "there are task, output")],
)  # fmt: skip
def test_a_column_that_no_record_has_is_refused(column, said):
    with pytest.raises(InputError, match="no record has that column") as caught:
        group_rows([{"task": "a", "output": "b"}, "text"], Quota(column))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_group_that_no_row_has_is_refused():
    with pytest.raises(InputError, match="no row has the value 'cod'; did you mean 'code'"):
        grouped(["code", "chat"], "task=cod:10%")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no column named"), ("=a:1", "no column named"), ("task=", "has no share"),
     ("task=a", "has no share"), ("task=a:30%,b", "has no share"), ("task=a:much", "is no share"),
     ("task=a:-1", "is no share"), ("task=a:120%", "is no share"), ("task=a:nan", "is no share"),
     ("task=a:inf", "is no share"), ("task=a:", "is no share"),
     ("task=a:0.6,b:0.5", "come to 1.1"), ("task=a:0.1,a:0.2", "named twice")],
)  # fmt: skip
def test_quotas_that_are_none(text, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_quota(text)
    assert "\n" not in str(caught.value)


def test_a_pool_of_nothing_but_share_0():
    with pytest.raises(InputError, match="every group has a share of 0"):
        grouped(["a", "a"], "task=a:0")


def test_quotas_are_read():
    tenths = parse_quota("task=a:0.1,b:0.2,c:0.3,d:0.4").shares
    assert sum(tenths.values()) == 1  # in binary numbers they exceed it
    assert parse_quota(" lang =pt-BR: 50 %,a:b:1.5%") == Quota(
        "lang", {"pt-BR": Fraction(1, 2), "a:b": Fraction(3, 200)}
    )


@given(st.integers(0, 500), st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_largest_remainders(total, weights):
    if not any(weights):
        weights[0] = 1
    parts = apportion(total, [Fraction(weight) for weight in weights])
    assert sum(parts) == total
    exact = [total * Fraction(weight, sum(weights)) for weight in weights]
    assert all(abs(part - want) < 1 for part, want in zip(parts, exact, strict=True))
    # None that was rounded up had a smaller remainder than one that was rounded down.
    up = [w - int(w) for p, w in zip(parts, exact, strict=True) if p > w]
    down = [w - int(w) for p, w in zip(parts, exact, strict=True) if p < w]
    assert min(up, default=1) >= max(down, default=0)


def test_groups_of_another_pool_are_refused():
    with pytest.raises(InputError, match="groups of 3 rows for 2 rows"):
        select_by_nll(make_frame([1.0, 2.0]), Rows(1), None, grouped(["a", "b", "a"]))


def test_more_groups_than_rows_to_keep():
    selection = select([f"id {n}" for n in range(50)], Rows(5))
    assert len(selection.kept_rows) == 5
    assert selection.notes == ("quota of task: the budget has nothing for 45 small groups",)


def test_more_rows_than_there_are():
    selection = select(["a", "b", "b"], Rows(10**30))
    assert selection.kept_rows.tolist() == [0, 1, 2]


def test_a_token_budget_is_shared_in_tokens():
    lengths = [40.0, 40.0, 40.0, 10.0, 10.0, 10.0]
    selection = select(["a"] * 3 + ["b"] * 3, Tokens(100), lengths=lengths)
    # 50 each: one of 40, then the next one does not fit; three of 10. The 10 and 20 that are
    # left are too little for the best row that waits.
    assert selection.kept_rows.tolist() == [0, 3, 4, 5]
    (a, b) = selection.params["quota"]["groups"]
    assert (a["share"], a["spent"], b["share"], b["spent"]) == (50, 40, 50, 30)
    more = select(["a"] * 3 + ["b"] * 3, Tokens(110), lengths=lengths)
    assert more.kept_rows.tolist() == [0, 1, 3, 4, 5]  # 55 + 25 that b left


def test_tokens_no_group_can_use_alone_are_spent_on_the_best_row():
    lengths = [30.0, 30.0, 20.0, 20.0]
    selection = select(["a", "a", "b", "b"], Tokens(80), lengths=lengths)
    # 40 each leaves 10 and, after two rows of 20, nothing: 10 in all buy nothing.
    assert selection.kept_rows.tolist() == [0, 2, 3]
    lengths = [30.0, 15.0, 25.0, 25.0]
    selection = select(["a", "a", "b", "b"], Tokens(80), lengths=lengths)
    assert selection.kept_rows.tolist() == [0, 1, 2]  # 10 of a and 15 of b, together 25
    assert selection.decisions["reason"][3] == "budget"


def test_diversity_and_quota_and_tokens_together():
    vectors = at_angles(0, 1, 40, 80, 2, 120, 160, 200)
    lengths = [10.0] * 8
    selection = select(
        ["a", "a", "a", "a", "b", "b", "b", None], Tokens(50),
        spacing=Spacing(0.1, vectors), lengths=lengths,
    )  # fmt: skip
    assert selection.decisions["reason"].to_list() == [
        "selected", "near:0", "selected", "selected", "near:0", "selected", "selected", "budget",
    ]  # fmt: skip
    # 25, 19 and 6 tokens are 2, 1 and 0 rows; the 20 left over buy the best two that wait.
    assert counts(selection) == {"a": (25, 3), "b": (19, 2), None: (6, 0)}


def test_near_duplicates_of_different_groups_count_once():
    vectors = at_angles(0, 1, 90, 91)
    selection = select(["a", "b", "b", "a"], Rows(4), spacing=Spacing(0.1, vectors))
    assert selection.decisions["reason"].to_list() == ["selected", "near:0", "selected", "near:2"]
    (a, b) = selection.params["quota"]["groups"]
    assert (a["near"], a["kept"], b["near"], b["kept"]) == (1, 1, 1, 1)


cases = st.tuples(st.integers(1, 30), st.integers(1, 5), st.integers(0, 10**6))


@given(cases, st.integers(1, 40), st.booleans(), st.booleans(), st.floats(0.05, 1.5))
def test_the_choice_is_the_one_made_by_hand(case, budget, in_tokens, apart, distance):
    n, n_groups, seed = case
    rng = np.random.default_rng(seed)
    names = [None if g == 0 else f"g{g}" for g in rng.integers(0, n_groups, n).tolist()]
    lengths = rng.integers(1, 9, n)
    frame = make_frame(rng.permutation(n).astype(float).tolist(), lengths=lengths.tolist())
    groups = grouped(names)
    if seed % 3 == 0 and len(groups.shares.names) > 1:
        # One group is barred, or one has a share of its own.
        named = f"task={groups.shares.names[0]}:{'0' if seed % 2 else '40%'}"
        groups = grouped(names, named)
    vectors = clustered(n, 8, 0.2, seed=seed, d=4)
    order = np.argsort(frame["nll"].to_numpy())
    total = 4 * budget if in_tokens else budget
    selection = select_by_nll(
        frame,
        Tokens(total) if in_tokens else Rows(total),
        Spacing(distance, vectors) if apart else None,
        groups,
    )
    kept, near = chosen_by_hand(
        total,
        lengths[order].tolist() if in_tokens else [1] * n,
        vectors=vectors[order] if apart else None,
        distance=distance,
        of=groups.of[order].tolist(),
        weights=groups.shares.weights(),
    )
    decisions = selection.decisions
    assert selection.kept_rows.tolist() == sorted(order[kept].tolist())
    assert near_rows(selection) == {int(order[a]): int(order[b]) for a, b in near.items()}
    assert sum(selection.reasons.values()) == n
    if in_tokens:
        assert frame.filter(decisions["kept"])["len"].sum() <= total
    last = decisions.filter("kept")["rank"].max() or 0
    assert all(rank > last for rank in decisions.filter(pl.col("reason") == "budget")["rank"])


@given(cases, st.integers(1, 40))
def test_rows_alone_fill_the_budget_and_each_group_keeps_its_best(case, budget):
    n, n_groups, seed = case
    rng = np.random.default_rng(seed)
    names = [f"g{g}" for g in rng.integers(0, n_groups, n).tolist()]
    selection = select(names, Rows(budget), nll=rng.permutation(n).astype(float).tolist())
    decisions = selection.decisions
    assert decisions["kept"].sum() == min(n, budget)
    for _, group in decisions.group_by("group"):
        kept = group.sort("rank")["kept"].to_list()
        assert kept == sorted(kept, reverse=True)
    full = all(one["rows"] >= one["share"] for one in selection.params["quota"]["groups"])
    if full:
        assert all(given == kept for given, kept in counts(selection).values())


@given(cases, st.integers(1, 40))
def test_the_order_of_the_pool_does_not_matter(case, budget):
    n, n_groups, seed = case
    rng = np.random.default_rng(seed)
    names = np.array([f"g{g}" for g in rng.integers(0, n_groups, n)])
    nll, turned = rng.permutation(n).astype(float), rng.permutation(n)
    one = select(names.tolist(), Rows(budget), nll=nll.tolist())
    two = select(names[turned].tolist(), Rows(budget), nll=nll[turned].tolist())
    assert sorted(turned[two.kept_rows].tolist()) == one.kept_rows.tolist()


def test_a_share_of_the_pool_is_shared_too():
    selection = select(["a"] * 30 + ["b"] * 10, budgets.Fraction(0.2))
    assert counts(selection) == {"a": (6, 6), "b": (2, 2)}
