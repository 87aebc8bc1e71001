"""Verdicts on losses whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from evaluation.simulated import World
from instructmining.errors import ExperimentError
from instructmining.evaluation.comparison import Comparison, compare
from instructmining.evaluation.conclusions import (
    BETTER,
    NOT_SHOWN,
    SAME,
    TOO_FEW,
    UNRESOLVED,
    WORSE,
    Terms,
    combine,
    conclude,
    holm,
)
from instructmining.evaluation.crossed import log_ratio, stack
from instructmining.evaluation.losses import EvaluationLosses, evaluation_losses

METHODS = ("rule", "random", "longest", "shortest", "ifd", "ppl")
QUICK = Terms(n_boot=1)
NOTHING = dict.fromkeys(METHODS, 0.0)


def one_set(
    effects: Mapping[str, float],
    n_seeds: int = 5,
    seed: int = 0,
    world: World | None = None,
    name: str = "lima",
) -> EvaluationLosses:
    losses, tokens = (world or World()).draw_losses(np.random.default_rng(seed), n_seeds, effects)
    return evaluation_losses(name, losses, tokens)


def conclusions(found: Comparison) -> list[str]:
    return [one.conclusion for one in found.contrasts]


def verdicts(world: World, n_seeds: int, effects: Mapping[str, float], n: int) -> np.ndarray:
    """Conclusions of many comparisons of the first method with the others, (n, n_others).

    The arithmetic of `compare`, over many data sets at once; that it is the same is tested.
    """
    terms = Terms()
    losses, tokens = world.draw_losses(np.random.default_rng(n_seeds), n_seeds, effects, n)
    reference, *others = losses
    kinds = []
    for per in (1.0, tokens[:, None]):
        every = stack([log_ratio(losses[reference] / per, losses[m] / per) for m in others])
        size = np.abs(every.value)
        p, equal = every.level_of(size), every.level_of(terms.log_margin - size)
        adjusted = (holm(values.T) for values in (p, equal))
        cells = zip(every.value.T.flat, *(table.flat for table in adjusted), strict=True)
        kinds.append([conclude(*cell, terms) for cell in cells])
    return np.array([combine(*pair) for pair in zip(*kinds, strict=True)]).reshape(n, -1)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize(
    "world",
    [World(), World(tail=3.0), World(tokens=(3.7, 1.2)), World(seeds=0.004, draw=0.004)],
    ids=["pilot", "heavy tails", "long references", "seeds"],
)
def test_a_false_better_is_rarer_than_promised(world: World, n_seeds: int) -> None:
    found = verdicts(world, n_seeds, NOTHING, 1000)
    better = found == BETTER
    assert better.any(axis=1).mean() <= 0.05
    assert better.mean(axis=0).max() <= 0.05
    assert (found == WORSE).any(axis=1).mean() <= 0.05


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_a_false_equality_is_rarer_than_promised(n_seeds: int) -> None:
    # Just at the margin; five such, and a small world in which equalities can be shown.
    world = World(prompts=0.005, interaction=0.002, seeds=0.0005, draw=0.0)
    effects = {**dict.fromkeys(METHODS, 0.0), "rule": -np.log1p(0.00501)}
    found = verdicts(world, n_seeds, effects, 1000)
    assert (found == SAME).any(axis=1).mean() <= 0.05
    if n_seeds == 5:
        assert (verdicts(world, n_seeds, NOTHING, 200) == SAME).mean() > 0.9


def test_gains_are_mostly_found_with_five_seeds() -> None:
    gain, more = ({**NOTHING, "rule": -size} for size in (0.01, 0.02))
    alike = World(tokens=(5.0, 0.01))
    assert (verdicts(alike, 5, gain, 300) == BETTER).mean() > 0.8
    # References of different length: fewer prompts in effect, and two weightings to agree.
    found = verdicts(World(), 5, gain, 300) == BETTER
    assert found.mean() > 0.55
    assert found.any(axis=1).mean() > 0.75
    assert (verdicts(World(), 5, more, 300) == BETTER).mean() > 0.95
    # The family costs something: a contrast that is alone in it finds more.
    alone = verdicts(World(), 5, {"rule": -0.01, "longest": 0.0}, 300) == BETTER
    assert alone.mean() > 0.7


def test_two_seeds_find_little_and_do_not_pretend() -> None:
    found = verdicts(World(), 2, {**NOTHING, "rule": -0.02}, 300)
    assert (found == BETTER).mean() < 0.3
    assert not {WORSE, SAME} & {*found.flat}


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    effects = {**NOTHING, "rule": -0.01, "ppl": -0.01, "longest": -0.02}
    losses, tokens = World().draw_losses(np.random.default_rng(4), 4, effects, 40)
    expected = verdicts(World(), 4, effects, 40)
    assert len({*expected.flat}) > 2
    for i in range(40):
        one = evaluation_losses("lima", {m: table[i] for m, table in losses.items()}, tokens[i])
        assert conclusions(compare([one], terms=QUICK)) == list(expected[i])


def test_a_real_gain() -> None:
    found = compare([one_set({"rule": -0.02, "random": 0.0}), one_set(NOTHING, name="human")],
                    pairs=[("rule", "random")])  # fmt: skip
    assert conclusions(found) == [BETTER, NOT_SHOWN]
    (gain, _) = found.contrasts
    assert found.verdict.startswith("rule is better than random on lima (-2.")
    assert found.verdict.endswith("), no difference shown on human")
    low, high = gain.by_token.interval
    assert low < np.expm1(-0.02) < high < 0
    assert gain.by_token.p <= gain.by_token.p_adjusted < 0.05
    assert gain.wins.win > gain.wins.lose


def test_a_loss_is_said_as_plainly() -> None:
    found = compare([one_set({"rule": 0.02, "random": 0.0})])
    assert conclusions(found) == [WORSE]
    assert found.verdict.startswith("rule is worse than random on lima (+")


def test_nothing() -> None:
    found = compare([one_set(NOTHING, seed=2), one_set(NOTHING, seed=3, name="human")])
    assert set(conclusions(found)) == {NOT_SHOWN}
    assert found.verdict == (
        "rule is not shown better than random, longest, shortest, ifd or ppl anywhere"
    )
    assert found.family.startswith("10 contrasts (rule - random, rule - longest, ")
    assert "by both weightings a difference is sure to be shown only from" in found.notes[0]


def test_no_practical_difference() -> None:
    world = World(prompts=0.004, interaction=0.002, seeds=0.0005, draw=0.0)
    found = compare([one_set({"rule": -0.001, "random": 0.0}, world=world)])
    assert conclusions(found) == [SAME]
    assert found.verdict.startswith("rule is not practically different from random on lima (-0.")
    low, high = found.contrasts[0].by_token.interval
    assert -0.005 < low < high < 0.005


@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_one_seed_is_too_few_whatever_it_shows(gain: float) -> None:
    found = compare([one_set({"rule": -gain, "random": 0.0, "all": 0.0}, n_seeds=1)])
    assert conclusions(found) == [TOO_FEW, TOO_FEW]
    assert found.verdict == "too few seeds to compare rule with random or all"
    assert found.family == "nothing was tested: no two methods share two seeds"
    assert "rule and random share one seed on lima" in found.notes[0]
    one = found.contrasts[0].by_token
    assert (one.interval, one.p, one.p_adjusted, one.p_equal, one.seed_error) == (None,) * 5
    assert one.relative == pytest.approx(np.expm1(-gain), abs=0.02)
    assert found.methods[0].by_token.interval is None


def test_a_contrast_with_fewer_seeds_uses_those_shared() -> None:
    every = one_set({"rule": -0.02, "random": 0.0, "all": 0.0})
    losses = {**every.losses, "all": every.losses["all"][[3, 1]]}
    seeds = {"rule": range(5), "random": range(5), "all": [3, 1]}
    found = compare([evaluation_losses("lima", losses, every.n_tokens, seeds)], terms=QUICK)
    assert [one.seeds for one in found.contrasts] == [(0, 1, 2, 3, 4), (1, 3)]
    assert [one.n_seeds for one in found.methods] == [5, 5, 2]
    ours = every.losses["rule"][[1, 3]].sum() / every.losses["all"][[1, 3]].sum() - 1
    assert found.contrasts[1].by_token.relative == pytest.approx(ours)
    # With one shared seed it is no part of the family, so that it costs the other nothing.
    seeds["all"] = [3, 9]
    found = compare([evaluation_losses("lima", losses, every.n_tokens, seeds)], terms=QUICK)
    assert conclusions(found) == [BETTER, TOO_FEW]
    assert found.contrasts[0].by_token.p_adjusted == found.contrasts[0].by_token.p
    assert found.verdict.endswith("; too few seeds to compare rule with all")


@pytest.mark.parametrize("longer", [True, False])
def test_a_gain_on_long_or_short_references_alone_is_unresolved(longer: bool) -> None:
    every = one_set(NOTHING, world=World(n_prompts=200, tokens=(4.0, 1.2)))
    rank = every.n_tokens.argsort().argsort()
    # The longest fifth holds most tokens, the shorter four fifths most examples.
    gains = np.where((rank >= 160) == longer, 0.98 if longer else 0.97, 1.0 if longer else 1.03)
    losses = {"rule": every.losses["rule"] * gains, "random": every.losses["random"]}
    found = compare([evaluation_losses("lima", losses, every.n_tokens)], terms=QUICK)
    (one,) = found.contrasts
    assert one.conclusion == UNRESOLVED
    assert one.by_token.conclusion != one.by_example.conclusion
    assert BETTER in (one.by_token.conclusion, one.by_example.conclusion)
    assert found.verdict == (
        f"rule is unresolved against random on lima ({one.by_token.conclusion} by token, "
        f"{one.by_example.conclusion} by example)"
    )


def test_seed_effects_shared_by_methods_hide_nothing() -> None:
    shaken = World(shared=0.03)
    found = compare([one_set({"rule": -0.02, "random": 0.0}, world=shaken)])
    assert conclusions(found) == [BETTER]
    assert found.methods[0].by_token.seed_deviation > 0.015
    assert found.contrasts[0].by_token.seed_error < 0.003


def test_one_prompt_does_not_make_a_method_better() -> None:
    every = one_set(NOTHING)
    first = every.losses["rule"].copy()
    first[:, 7] = 0.0
    losses = {**every.losses, "rule": first}
    found = compare([evaluation_losses("lima", losses, every.n_tokens)], terms=QUICK)
    assert BETTER not in conclusions(found)


def test_losses_of_methods() -> None:
    every = one_set({"rule": 0.0, "random": 0.1}, n_seeds=3)
    rule, random = compare([every], terms=QUICK).methods
    table, tokens = every.losses["rule"], every.n_tokens
    assert rule.by_token.value == pytest.approx(table.mean(axis=0).sum() / tokens.sum())
    assert rule.by_example.value == pytest.approx((table / tokens).mean())
    logs = np.log(table.sum(axis=1) / tokens.sum())
    assert rule.by_token.seed_deviation == pytest.approx(logs.std(ddof=1))
    low, high = rule.by_token.interval
    assert low < rule.by_token.value < high
    # The prompts' own difficulty is in these, and not in the difference.
    (contrast,) = compare([every], terms=QUICK).contrasts
    assert contrast.by_token.prompt_error < 0.2 * np.log(high / low) / 4
    assert random.by_token.value > rule.by_token.value


def test_order_of_methods_sets_prompts_and_seeds_does_not_matter() -> None:
    effects = {**NOTHING, "rule": -0.012}
    sets = [one_set(effects), one_set(effects, seed=1, name="human")]
    rng = np.random.default_rng(0)

    def shuffled(one: EvaluationLosses) -> EvaluationLosses:
        prompts, seeds = rng.permutation(96), rng.permutation(5)
        methods = rng.permutation(METHODS)
        losses = {m: one.losses[m][seeds][:, prompts] for m in methods}
        labels = {m: [int(seed) for seed in seeds] for m in METHODS}
        return evaluation_losses(one.name, losses, one.n_tokens[prompts], labels)

    def as_set(found: Comparison) -> dict[tuple[str, ...], list[float]]:
        return {
            (one.evaluation, one.other, one.conclusion, *map(str, one.wins.score_interval)): [
                one.by_token.relative, *one.by_token.interval, one.by_token.p_adjusted,
                one.by_example.p_equal_adjusted,
            ]
            for one in found.contrasts
        }  # fmt: skip

    plain = as_set(compare(sets))
    again = as_set(compare([shuffled(one) for one in sets[::-1]]))
    assert plain.keys() == again.keys()
    for key, values in plain.items():
        np.testing.assert_allclose(again[key], values, rtol=1e-6, atol=1e-12)


def test_a_stated_family() -> None:
    every = one_set({**NOTHING, "longest": -0.02})
    pairs = [("longest", "random"), ("rule", "ppl")]
    found = compare([every], pairs=pairs, terms=QUICK)
    assert [(one.method, one.other) for one in found.contrasts] == pairs
    assert found.verdict.startswith("longest is better than random on lima (")
    assert found.verdict.endswith("; rule is not shown better than ppl on lima")
    assert "2 contrasts (longest - random, rule - ppl; on lima)" in found.family
    # Each alone is held against the level itself.
    alone = compare([every], pairs=pairs[:1], terms=QUICK).contrasts[0].by_token
    assert alone.p_adjusted == alone.p == found.contrasts[0].by_token.p


def test_what_would_have_been_shown_is_told() -> None:
    every = one_set({"rule": 0.0, "random": 0.0})
    found = compare([every], terms=QUICK).contrasts[0].by_token
    low, high = np.log1p(found.interval)
    assert np.log1p(found.shown_from) == pytest.approx((high - low) / 2)
    # Nothing smaller than what matters is called a difference.
    wide = compare([every], terms=replace(QUICK, margin=0.05)).contrasts[0].by_token
    assert wide.shown_from == pytest.approx(0.05)


def test_references_of_very_different_length_are_noted() -> None:
    found = compare([one_set({"rule": 0.0, "random": 0.0}, world=World(tokens=(3.7, 1.2)))])
    assert "token mean of 96 prompts rests on about" in found.notes[-1]


def test_a_comparison_is_plain_data() -> None:
    every = one_set({"rule": -0.02, "random": 0.0, "all": 0.0})
    losses = {**every.losses, "all": every.losses["all"][:1]}
    found = compare([evaluation_losses("lima", losses, every.n_tokens)])
    plain = found.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["contrasts"][0]["conclusion"] == BETTER
    assert plain["contrasts"][1]["by_token"]["interval"] is None
    assert plain["terms"]["margin"] == 0.005
    assert plain["verdict"] == found.verdict


@pytest.mark.parametrize(
    ("methods", "pairs", "message"),
    [
        (("rule",), None, "no pair of methods"),
        (("random", "ppl"), None, "no losses of rule, only of random, ppl"),
        (("rule", "random"), [("rule", "rule")], "pair rule - rule"),
        (("rule", "random"), [("rule", "random"), ("random", "rule")], "came twice"),
        (("rule", "random"), [("rule", "ifd")], "no losses of ifd"),
    ],
)
def test_families_that_cannot_be_tested_are_refused(methods, pairs, message) -> None:
    with pytest.raises(ExperimentError, match=message):
        compare([one_set(dict.fromkeys(methods, 0.0))], pairs=pairs)


def test_sets_need_names_of_their_own_and_methods_a_common_seed() -> None:
    every = one_set({"rule": 0.0, "random": 0.0}, n_seeds=2)
    with pytest.raises(ExperimentError, match="name of its own"):
        compare([every, every])
    with pytest.raises(ExperimentError, match="at least one"):
        compare([])
    seeds = {"rule": [1, 2], "random": [3, 4]}
    apart = evaluation_losses("lima", every.losses, every.n_tokens, seeds)
    with pytest.raises(ExperimentError, match="a seed in common"):
        compare([apart])
