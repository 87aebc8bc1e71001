from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import ExperimentError
from instructmining.examples import Example, Turn, prompt_hash
from instructmining.experiments.mixtures import SourcePool, apportion, draw
from instructmining.experiments.specs import MixtureSpec, parse_mixture, random_specs
from instructmining.overlap.words import OverlapIndex


def example(row: int, prompt: str, response: str = "an answer", flags: tuple[str, ...] = ()):
    return Example(row, (Turn("user", prompt),), response, flags=flags)


def pool(name: str, n: int, start: int = 0) -> SourcePool:
    # Response lengths are a permutation of 1..n, unrelated to the row.
    return SourcePool.from_examples(
        name, [example(i, f"prompt {start + i}", "y" * (1 + i * 7919 % n)) for i in range(n)]
    )


POOLS = {"alpha": pool("alpha", 1009), "beta": pool("beta", 307, 5000), "c": pool("c", 53, 9000)}


def test_unusable_rows_are_left_out_and_counted():
    overlap = OverlapIndex.build([example(0, "the evaluation prompt")])
    rows = [
        example(0, "good"),
        example(1, "no response", " "),
        example(2, "bad", flags=("null_response",)),
        example(3, "good"),
        example(4, "The evaluation prompt!"),
        example(5, "also good"),
        example(6, "Trained  a head."),
    ]
    trained_on = {prompt_hash(example(0, "Trained a head.").turns)}
    made = SourcePool.from_examples("s", rows, overlap, trained_on)
    assert [row.row for row in made.rows] == [0, 5]
    assert made.excluded == {
        "duplicate": 1,
        "flagged": 1,
        "overlap:prompt": 1,
        "trained_head": 1,
        "unscorable": 1,
    }
    assert made.n_rows == len(made.rows) + sum(made.excluded.values())


@pytest.mark.parametrize(
    "body", ["alpha", "alpha:3,beta:1", "alpha,beta,c", "longest@alpha,beta", "random@*",
             "shortest:100@alpha", "random_shares@*"],
)  # fmt: skip
def test_draws_are_distinct_complete_and_repeatable(body):
    spec = parse_mixture(f"m={body}", POOLS)
    mixture = draw(spec, POOLS, 90, 7)
    assert len(mixture.rows) == 90
    assert len({row.digest for row in mixture.rows}) == 90
    assert sum(mixture.counts.values()) == 90
    assert mixture.shares == {s: n / 90 for s, n in mixture.counts.items()}
    table = {(s, r.row): r.digest for s, p in POOLS.items() for r in p.rows}
    assert all(table[row.source, row.row] == row.digest for row in mixture.rows)
    assert draw(spec, POOLS, 90, 7) == mixture
    assert draw(parse_mixture(f"other={body}", POOLS), POOLS, 90, 7).rows != mixture.rows
    assert draw(spec, POOLS, 90, 8).rows != mixture.rows


@pytest.mark.parametrize("body", ["beta:1,alpha:3", "longest@beta,alpha", "random_shares@*"])
def test_order_of_sources_and_of_rows_has_no_effect(body):
    spec = parse_mixture(f"m={body}", POOLS)
    turned = {
        name: SourcePool(name, tuple(reversed(p.rows)), p.n_rows)
        for name, p in reversed(POOLS.items())
    }
    again = MixtureSpec(spec.name, spec.strategy, spec.sources[::-1], spec.shares[::-1])
    assert set(draw(again, turned, 60, 1).rows) == set(draw(spec, POOLS, 60, 1).rows)


def test_a_source_not_named_has_no_effect():
    spec = parse_mixture("m=alpha,beta", POOLS)
    without = {name: POOLS[name] for name in ("alpha", "beta")}
    assert draw(spec, without, 60, 1) == draw(spec, POOLS, 60, 1)


def test_shares_are_met():
    mixture = draw(parse_mixture("m=alpha:0.5,beta:0.3,c:0.2", POOLS), POOLS, 101, 0)
    assert mixture.counts == {"alpha": 51, "beta": 30, "c": 20}


def test_rows_are_mixed_so_that_no_source_comes_in_one_block():
    rows = draw(parse_mixture("m=alpha,beta", POOLS), POOLS, 100, 0).rows
    changes = sum(a.source != b.source for a, b in pairwise(rows))
    assert changes > 25


def test_draws_are_uniform_over_rows():
    hits = Counter(
        row.row
        for i in range(400)
        for row in draw(MixtureSpec(f"m{i}", "shares", ("c",), (1.0,)), POOLS, 10, 0).rows
    )
    expected = 400 * 10 / 53
    chi2 = sum((hits[row] - expected) ** 2 / expected for row in range(53))
    assert chi2 < 90  # 52 degrees of freedom less for drawing without replacement; p < 0.001


def test_longest_and_shortest_of_everything():
    lengths = {row.digest: row.length for row in POOLS["alpha"].rows}
    for strategy, expected in (("longest", range(1000, 1010)), ("shortest", range(1, 11))):
        mixture = draw(parse_mixture(f"m={strategy}:5000@alpha", POOLS), POOLS, 10, 3)
        assert sorted(lengths[row.digest] for row in mixture.rows) == list(expected)


def test_longest_of_a_sample_sees_only_the_sample():
    lengths = {row.digest: row.length for row in POOLS["alpha"].rows}
    mixture = draw(parse_mixture("m=longest:100@alpha", POOLS), POOLS, 10, 3)
    drawn = sorted(lengths[row.digest] for row in mixture.rows)
    assert drawn != list(range(1000, 1010))
    assert drawn[0] > 700  # far above the median of 505
    with pytest.raises(ExperimentError, match="wants 10 rows, but only 9"):
        draw(parse_mixture("m=longest:9@alpha", POOLS), POOLS, 10, 3)


def test_a_text_in_two_sources_is_drawn_once():
    twice = {"a": pool("a", 40), "b": pool("b", 60)}  # the prompts and answers partly agree
    shared = {r.digest for r in twice["a"].rows} & {r.digest for r in twice["b"].rows}
    assert shared
    usable = 100 - len(shared)
    mixture = draw(parse_mixture("m=random@a,b", twice), twice, usable, 0)
    assert len({row.digest for row in mixture.rows}) == usable
    with pytest.raises(ExperimentError, match=f"only {usable} can be used"):
        draw(parse_mixture("m=random@a,b", twice), twice, usable + 1, 0)
    assert len(draw(random_specs(1, twice)[0], twice, usable, 0).rows) == usable


def test_random_shares_are_spread_over_the_simplex():
    many = {name: pool(name, 200, i * 1000) for i, name in enumerate("abc")}
    drawn = [draw(spec, many, 100, 0).shares for spec in random_specs(200, many)]
    first = sorted(shares.get("a", 0.0) for shares in drawn)
    # One share of Dirichlet(1,1,1) is Beta(1,2): mean 1/3, quartiles 0.134 and 0.5.
    assert abs(sum(first) / 200 - 1 / 3) < 0.06
    assert abs(first[50] - 0.134) < 0.05
    assert abs(first[150] - 0.5) < 0.08


def test_random_shares_respect_small_sources():
    for spec in random_specs(20, POOLS):
        mixture = draw(spec, POOLS, 1300, 0)
        assert all(n <= len(POOLS[s].rows) for s, n in mixture.counts.items())
    with pytest.raises(ExperimentError, match="wants 1370 rows, but only 1369"):
        draw(random_specs(1, POOLS)[0], POOLS, 1370, 0)


def test_too_few_rows_is_an_error_with_the_numbers():
    with pytest.raises(ExperimentError, match="mixture m: wants 60 rows of c, but only 53"):
        draw(parse_mixture("m=c,alpha", POOLS), POOLS, 120, 0)
    with pytest.raises(ExperimentError, match="size 0"):
        draw(parse_mixture("m=c", POOLS), POOLS, 0, 0)
    with pytest.raises(ExperimentError, match="source 'd' is not known"):
        draw(MixtureSpec("m", "random", ("d",)), POOLS, 1, 0)


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8),
    st.integers(0, 2000),
    st.randoms(use_true_random=False),
)
def test_apportion_adds_up_and_stays_within_one(weights, size, generator: random.Random):
    shares = {f"s{i}": weight for i, weight in enumerate(weights)}
    counts = apportion(shares, size)
    total = sum(weights)
    assert sum(counts.values()) == size
    assert all(abs(counts[s] - size * w / total) < 1 + 1e-6 for s, w in shares.items())
    limits = {s: generator.randint(0, size) for s in shares}
    limits["s0"] += max(0, size - sum(limits.values()))
    capped = apportion(shares, size, limits)
    assert sum(capped.values()) == size
    assert all(0 <= capped[s] <= limits[s] for s in shares)
