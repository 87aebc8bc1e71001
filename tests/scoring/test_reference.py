"""Which rows the nearest-neighbour indicator compares with."""

from __future__ import annotations

import random

from instructmining.examples import Example, Turn
from instructmining.scoring.digests import pack
from instructmining.scoring.reference import ReferenceSpec, text_key
from scoring.pools import example, examples, renumbered, rows_of


def choose(spec, pool):
    return [pool[row] for row in rows_of(spec, pool)]


def texts(chosen):
    return [text_key(one) for one in chosen]


def describe(spec, chosen):
    return spec.describe(pack(one.digest for one in chosen))


def test_sample_does_not_depend_on_order():
    pool = examples(300)
    shuffled = random.Random(1).sample(pool, len(pool))
    spec = ReferenceSpec(size=50)
    assert texts(choose(spec, pool)) == texts(choose(spec, renumbered(shuffled)))
    assert len(set(texts(choose(spec, pool)))) == 50


def test_sample_changes_little_when_rows_are_added():
    spec, pool = ReferenceSpec(size=100), examples(400)
    before = set(texts(choose(spec, pool)))
    after = set(texts(choose(spec, [*pool, *examples(40, seed=1)])))
    # A row leaves only for one that was added: about 100 x 40 / 440 of them.
    assert after - before <= set(texts(examples(40, seed=1)))
    assert 0 < len(before - after) <= 20


def test_sample_is_spread_over_the_pool_and_follows_the_seed():
    pool = examples(1000)
    rows = [one.row for one in choose(ReferenceSpec(size=200), pool)]
    assert 70 <= sum(row < 500 for row in rows) <= 130
    other = choose(ReferenceSpec(size=200, seed=1), pool)
    assert len(set(rows) & {one.row for one in other}) < 100


def test_smaller_pool_is_taken_whole():
    pool = examples(7)
    assert {one.row for one in choose(ReferenceSpec(), pool)} == set(range(7))
    assert choose(ReferenceSpec(), []) == []


def test_texts_are_distinct_and_scorable():
    pool = [
        example(0, "a", "b"),
        example(1, "a", "b"),
        # Another role, another content hash, the same text to embed.
        Example(2, (Turn("system", "a"),), "b"),
        example(3, "a", ""),
        example(4, "a", "c"),
    ]
    for kind in ("sample", "pool"):
        chosen = choose(ReferenceSpec(kind), pool)
        assert sorted(texts(chosen)) == sorted({text_key(pool[0]), text_key(pool[4])})


def test_pool_and_file_are_taken_whole():
    pool, other = examples(30), examples(20, seed=1)
    assert texts(choose(ReferenceSpec("pool", size=5), pool)) == texts(pool)
    assert texts(choose(ReferenceSpec("file", size=5), other)) == texts(other)


def test_description_knows_the_rows_not_their_order():
    pool = examples(20)
    spec = ReferenceSpec()
    said = describe(spec, choose(spec, pool))
    assert (said["kind"], said["rows"], said["seed"]) == ("sample", 20, 0)
    assert describe(spec, pool[::-1]) == said
    assert describe(spec, pool[1:])["hash"] != said["hash"]


def test_key_survives_what_real_files_hold():
    assert text_key(example(0, "lone \ud800", "surrogate")) != text_key(example(0, "?", "?"))
    assert text_key(example(0, "a\nb", "c")) == text_key(example(1, "a", "b\nc"))
