from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.contest.choosing import (
    Candidates,
    Choice,
    Ration,
    choose,
    columns_of,
    preference,
    reference_of,
)
from instructmining.experiments.mixtures import MixtureRow
from instructmining.experiments.specs import MethodSpec, parse_methods

NAN, INF = np.nan, np.inf
#: Eight usable rows of a pool of ten: rows 3 and 7 were left out.
ROWS = (0, 1, 2, 4, 5, 6, 8, 9)
VALUES = {
    "predicted": [0.5, 0.1, NAN, 0.3, 0.1, 0.9, 0.2, 0.7],
    "len_out": [5.0, 9.0, 9.0, 2.0, 2.0, 7.0, NAN, 4.0],
    "ppl": [3.0, 2.0, 2.0, INF, 8.0, 1.5, NAN, 4.0],
    "ifd": [0.99, 1.0, 1.2, 0.4, 0.99, -INF, NAN, 0.7],
}
TOKENS = [6, 10, 10, 3, 3, 8, 4, 5]
CANDIDATES = Candidates(
    tuple(MixtureRow("pool", row, f"{row:032x}") for row in ROWS),
    np.array(TOKENS),
    {name: np.array(values) for name, values in VALUES.items()},
    {"mine": [9, 3, 0, 8]},
)
RATION = Ration(3, "rule", batch_size=2, seeds=(0, 1, 2))


def rows_of(choice: Choice) -> list[int]:
    return [row.row for row in choice.mixture.rows]


def chosen(names: str, ration: Ration = RATION) -> dict[str, Choice]:
    methods = [MethodSpec(name) for name in names.split(",")]
    return {choice.mixture.name: choice for choice in choose(methods, CANDIDATES, ration)}


# What each method takes, worked by hand


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # Rows 1 and 5 tie; row 2 is undefined.
        ("rule", [1, 5, 8, 4, 0, 9, 6]),
        ("longest", [1, 2, 6, 0, 9, 4, 5]),
        ("shortest", [4, 5, 9, 0, 6, 1, 2]),
        # An infinite perplexity is as good as none.
        ("ppl", [6, 1, 2, 0, 9, 5]),
        # Highest below 1: rows 1 (exactly 1) and 2 never.
        ("ifd", [0, 5, 9, 4]),
        ("all", list(ROWS)),
        # Row 3 of the table was left out for every method.
        ("mine", [9, 0, 8]),
    ],
)
def test_the_order_in_which_a_method_takes_rows(method, expected):
    found = preference(method, CANDIDATES, seed=0, draw_seed=0)
    assert [ROWS[i] for i in found] == expected
    assert preference(method, CANDIDATES, seed=4, draw_seed=4).tolist() == found.tolist()


def test_random_is_another_shuffle_for_every_seed_and_the_same_again():
    draws = {
        (seed, draw): tuple(preference("random", CANDIDATES, seed, draw).tolist())
        for seed in range(4)
        for draw in range(2)
    }
    assert len({*draws.values()}) == 8
    assert all(sorted(order) == list(range(8)) for order in draws.values())
    for (seed, draw), order in draws.items():
        assert tuple(preference("random", CANDIDATES, seed, draw)) == order
    # By content: a row keeps its place when others are left out.
    fewer = replace(CANDIDATES, rows=CANDIDATES.rows[:5])
    kept = [i for i in draws[0, 0] if i < 5]
    assert preference("random", fewer, 0, 0).tolist() == kept


def test_no_method_goes_by_a_value_it_does_not_need():
    methods = parse_methods(["rule", "random", "longest", "shortest", "ppl", "all", "x=y.parquet"])
    assert columns_of(methods) == ["len_out", "ppl"]
    assert columns_of(parse_methods(["random", "all"])) == []


# Budgets


def test_tokens_are_equal_to_the_nearest_row_and_so_are_steps():
    found = chosen("rule,random,longest,shortest,ifd,all")
    # The rule's three rows: 10 + 3 + 4.
    assert (rows_of(found["rule"]), found["rule"].n_tokens) == ([1, 5, 8], 17)
    # 10 is 7 short, 20 is 3 over.
    assert (rows_of(found["longest"]), found["longest"].n_tokens) == ([1, 2], 20)
    # 3 + 3 + 5 + 6 is reached exactly.
    assert (rows_of(found["shortest"]), found["shortest"].n_tokens) == ([4, 5, 9, 0], 17)
    # 6 + 3 + 5 + 3 as well, with the last row there is.
    assert (rows_of(found["ifd"]), found["ifd"].n_tokens) == ([0, 5, 9, 4], 17)
    budgeted = [choice for name, choice in found.items() if name != "all"]
    assert all(abs(choice.n_tokens - 17) <= max(TOKENS) / 2 for choice in budgeted)
    # Three rows in batches of two; divided among two steps each.
    assert {choice.steps for choice in budgeted} == {2}
    assert {choice.mixture.steps_per_epoch for choice in budgeted} == {2}


def test_the_row_that_overshoots_is_left_out_where_that_is_closer():
    short = Candidates(
        CANDIDATES.rows[:4],
        np.array([4, 4, 9, 9]),
        {"predicted": np.array([3.0, 2.0, 1.0, NAN]), "len_out": np.array([1.0, 2.0, 3.0, 4.0])},
    )
    ration = Ration(1, "rule", seeds=(0,))
    _, choice = choose([MethodSpec("rule"), MethodSpec("shortest")], short, ration)
    # The budget is 9: two rows have 8, three have 17.
    assert choice.n_tokens == 8


def test_all_is_exempt_with_steps_and_seeds_of_its_own():
    found = chosen("rule,all", replace(RATION, all_seeds=2))["all"]
    assert rows_of(found) == list(ROWS)
    assert found.n_tokens == sum(TOKENS)
    assert (found.mixture.seeds, found.mixture.steps_per_epoch, found.steps) == ((0, 1), None, 4)
    assert chosen("rule,all", replace(RATION, all_seeds=9))["all"].mixture.seeds is None


def test_random_has_a_mixture_for_every_seed():
    found = chosen("random,rule")
    assert list(found) == ["random-s0", "random-s1", "random-s2", "rule"]
    assert [found[f"random-s{seed}"].mixture.seeds for seed in range(3)] == [(0,), (1,), (2,)]
    assert len({tuple(rows_of(found[f"random-s{seed}"])) for seed in range(3)}) == 3
    assert found["rule"].mixture.seeds is None
    again = chosen("random,rule")
    assert again == found


def test_rows_are_equal_where_that_is_asked_for():
    found = chosen("rule,random,longest,shortest,mine,all", replace(RATION, kind="rows"))
    budgeted = [choice for name, choice in found.items() if name != "all"]
    assert {len(choice.mixture.rows) for choice in budgeted} == {3}
    assert {choice.mixture.steps_per_epoch for choice in found.values()} == {None}
    assert {choice.steps for choice in budgeted} == {2}
    assert rows_of(found["mine"]) == [9, 0, 8]


def test_a_method_of_few_long_rows_sets_the_steps_of_all():
    # The rule's four rows have 20 tokens, in four steps; the two longest have them in two.
    found = chosen("rule,longest,shortest", replace(RATION, keep=4, batch_size=1))
    assert len(found["longest"].mixture.rows) == 2
    assert {choice.mixture.steps_per_epoch for choice in found.values()} == {2}


@pytest.mark.parametrize(
    ("names", "ration", "said"),
    [
        ("rule,random", replace(RATION, keep=9), r"keep 9 rows came, 8 of the pool can be used"),
        ("rule,random", replace(RATION, keep=0), r"keep 0 rows came"),
        ("rule,random", replace(RATION, keep=8), r"method rule: all it can take is 7 rows"),
        (
            "rule,ifd",
            replace(RATION, keep=4),
            r"method ifd: all it can take is 17 response tokens, the budget is 20; lower --keep",
        ),
        ("rule,ifd", replace(RATION, keep=5, kind="rows"), r"method ifd: .* 4 rows, the budget"),
    ],
)
def test_too_few_rows_for_the_budget_are_refused(names, ration, said):
    with pytest.raises(ExperimentError, match=said):
        chosen(names, ration)


# References


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        ("longest,rule,all", None, "rule"),
        ("random,all,ppl,ifd", None, "ppl"),
        ("all,random", None, "random"),
        ("rule,random", "random", "random"),
    ],
)
def test_the_reference_is_the_rule_or_what_comes_first(names, asked, expected):
    assert reference_of(parse_methods(names.split(",")), asked) == expected


@pytest.mark.parametrize("asked", ["all", "ppl"])
def test_a_reference_that_is_not_compared_or_keeps_no_budget_is_refused(asked):
    with pytest.raises(ExperimentError, match=r"reference .* choose one of rule, random$"):
        reference_of(parse_methods(["rule", "random", "all"]), asked)


def test_where_random_is_the_reference_its_first_draw_sets_the_budget():
    found = chosen("random,longest", replace(RATION, reference="random"))
    first = found["random-s0"]
    assert len(first.mixture.rows) == 3
    others = [choice.n_tokens for choice in found.values()]
    assert all(abs(n - first.n_tokens) <= max(TOKENS) / 2 for n in others)


# The evaluation files' own rows

TARGET = Candidates(
    (MixtureRow("human#fit", 0, "f0" * 16), MixtureRow("other#fit", 3, "f3" * 16)),
    np.array([9, 8]),
)


def test_target_takes_rows_that_are_not_of_the_pool():
    everything = replace(CANDIDATES, target=TARGET)
    methods = [MethodSpec("target"), MethodSpec("random"), MethodSpec("all")]
    ration = replace(RATION, keep=2, reference="target")
    found = {c.mixture.name: c for c in choose(methods, everything, ration)}
    target = found["target"]
    assert target.mixture.rows == TARGET.rows
    assert target.mixture.shares == {"human#fit": 0.5, "other#fit": 0.5}
    assert (target.n_tokens, target.n_open, target.mixture.seeds) == (17, 2, None)
    drawn = [choice for name, choice in found.items() if name.startswith("random")]
    assert len(drawn) == 3
    assert all(abs(choice.n_tokens - 17) <= max(TOKENS) / 2 for choice in drawn)
    assert {row.source for c in drawn for row in c.mixture.rows} == {"pool"}
    # Whatever is not a choice sets no budget unless it is asked to.
    assert reference_of([MethodSpec(n) for n in ("target", "all", "random")]) == "random"
    assert reference_of(methods, "target") == "target"


def test_a_budget_of_more_than_the_evaluation_files_hold_is_refused():
    everything = replace(CANDIDATES, target=TARGET)
    methods = [MethodSpec("target"), MethodSpec("rule")]
    with pytest.raises(ExperimentError, match="keep 3 rows came, 2 of the evaluation files can"):
        choose(methods, everything, replace(RATION, reference="target"))
    with pytest.raises(ExperimentError, match="method target: all it can take is 17 response tok"):
        choose(methods, everything, replace(RATION, keep=5))
