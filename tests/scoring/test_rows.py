"""What is kept of a pool, and what is read of it again."""

from __future__ import annotations

import random

import numpy as np
import pytest

from instructmining.errors import InputError
from instructmining.scoring.digests import Lookup, as_series, from_bytes, pack, unpack
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.rows import Chained, Listed, PoolIndex
from scoring.pools import example, examples


def index_of(pool, **options):
    return PoolIndex.read(Listed(pool), FlagCodes(), **options)


def test_first_rows_and_positions_are_those_of_a_dict():
    draw = random.Random(0)
    some = [*examples(40), example(0, "a", ""), example(0, "b", " ")]
    pool = draw.choices(some, k=200)
    index = index_of(pool)
    first = {}
    for row, e in enumerate(pool):
        if e.scorable:
            first.setdefault(e.digest, row)
    assert index.first.tolist() == list(first.values())
    order = {digest: place for place, digest in enumerate(first)}
    assert index.position.tolist() == [order.get(e.digest, -1) for e in pool]
    again = [e.scorable and first[e.digest] != row for row, e in enumerate(pool)]
    assert index.duplicate.tolist() == again
    assert unpack(index.digests) == [e.digest for e in pool]


def test_an_empty_pool_has_no_rows():
    for pool in ([], [example(0, "a", "")]):
        index = index_of(pool, text_keys=True)
        assert len(index) == len(pool)
        assert len(index.rows()) == 0
        assert list(index.rows().examples()) == []


def test_rows_are_read_again_only_to_the_last_one_wanted():
    pool = examples(10)
    given = []

    class Noting:
        def examples(self):
            for e in pool:
                given.append(e.row)
                yield e

    rows = PoolIndex.read(Noting(), FlagCodes()).rows()
    given.clear()
    wanted = np.zeros(10, dtype=bool)
    wanted[[2, 5]] = True
    assert [(at, e.row) for at, e in rows.examples(wanted)] == [(2, 2), (5, 5)]
    assert given == list(range(6))


@pytest.mark.parametrize("change", [lambda pool: pool.reverse(), lambda pool: pool.clear()])
def test_a_source_that_changes_is_noticed(change):
    pool = examples(4)
    rows = index_of(pool).rows()
    change(pool)
    with pytest.raises(InputError, match="must not change while it is scored"):
        list(rows.examples())


def test_sources_in_a_chain_follow_each_other():
    parts = [examples(3), examples(2, seed=1)]
    chain = Chained([Listed(part) for part in parts])
    for _ in range(2):
        assert list(chain.examples()) == parts[0] + parts[1]


def test_hashes_survive_packing_whatever_their_bytes():
    # numpy cuts trailing zero bytes from what it shows, and compares as unsigned bytes.
    digests = ["00" * 16, "ff" * 16, "61" + "00" * 15, "61" * 15 + "00", "80" + "7f" * 15]
    packed = pack(digests)
    assert unpack(packed) == digests
    assert as_series(packed).to_list() == digests
    assert Lookup(packed).find(packed).tolist() == list(range(5))
    assert Lookup(packed).find(pack(["61" * 16, digests[3]])).tolist() == [-1, 3]
    assert Lookup(packed[:0]).find(packed).tolist() == [-1] * 5
    assert len(as_series(packed[:0])) == 0


def test_hashes_with_a_common_half_are_told_apart():
    rng = np.random.default_rng(0)
    halves = [rng.bytes(8) for _ in range(3)]
    digests = from_bytes(b"".join(half + rng.bytes(8) for half in halves for _ in range(50)))
    order = rng.permutation(150)
    assert Lookup(digests[order]).find(digests)[order].tolist() == list(range(150))
    other = from_bytes(b"".join(half + rng.bytes(8) for half in halves))
    assert Lookup(digests).find(other).tolist() == [-1] * 3


def test_flags_are_joined_in_order_and_once():
    codes = FlagCodes()
    cases = [((), ()), (("a",), ()), ((), ("b",)), (("a", "b"), ("c", "a")), (("b",), ("b",))]
    first, second = (
        np.asarray([codes.code(case[side]) for case in cases], dtype=np.int32) for side in (0, 1)
    )
    joined = codes.join(first, second)
    wanted = [list(dict.fromkeys((*one, *other))) for one, other in cases]
    assert codes.series(joined).to_list() == wanted
    assert codes.series(joined[:0]).to_list() == []
