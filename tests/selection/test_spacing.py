"""Rows kept are far enough apart, and the best of those that are not stays."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.selection import choose as choosing
from instructmining.selection import spacing as spaces
from instructmining.selection.budget import Fraction, Rows, Tokens
from instructmining.selection.spacing import DEFAULT_DISTANCE, Nearby, Spacing, parse_distance
from selection.pools import (
    at_angles,
    chosen_by_hand,
    clustered,
    make_frame,
    near_rows,
    select_by_nll,
)

#: Ten degrees of a circle.
TEN = 2 * np.sin(np.radians(5))


def measured(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the distances of every two of some rows, infinite on the diagonal."""
    some = vectors[rows].astype(np.float64)
    apart = np.linalg.norm(some[:, None] - some[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return apart


def test_a_row_too_near_to_a_kept_one_is_dropped_and_names_it():
    frame = make_frame([3.0, 1.0, 2.0, 4.0])
    selection = select_by_nll(frame, Rows(4), Spacing(TEN, at_angles(5, 0, 90, 85)))
    assert selection.decisions["reason"].to_list() == ["near:1", "selected", "selected", "near:2"]
    assert selection.decisions["rank"].to_list() == [3, 1, 2, 4]
    assert selection.reasons == {"near": 2, "selected": 2}


def test_only_rows_that_are_kept_push_others_away():
    # 8 is near to 0 and so not kept; 16 is near to 8 alone.
    frame = make_frame([1.0, 2.0, 3.0])
    selection = select_by_nll(frame, Rows(3), Spacing(TEN, at_angles(0, 8, 16)))
    assert selection.decisions["reason"].to_list() == ["selected", "near:0", "selected"]


def test_the_nearest_kept_row_is_named_and_of_equally_near_ones_the_better():
    near_second = select_by_nll(
        make_frame([1.0, 2.0, 3.0]), Rows(3), Spacing(TEN, at_angles(0, 12, 7))
    )
    assert near_second.decisions["reason"][2] == "near:1"
    same = np.eye(4, dtype=np.float32)[[0, 1, 2]]
    middle = np.full((1, 4), 0.5, dtype=np.float32)
    equally = select_by_nll(
        make_frame([2.0, 1.0, 3.0, 4.0]), Rows(4), Spacing(1.1, np.vstack([same, middle]))
    )
    assert equally.decisions["reason"].to_list() == ["selected"] * 3 + ["near:1"]


def test_rows_after_the_end_of_the_budget_are_not_compared():
    selection = select_by_nll(
        make_frame([1.0, 2.0, 3.0]), Rows(1), Spacing(TEN, at_angles(0, 1, 90))
    )
    assert selection.decisions["reason"].to_list() == ["selected", "budget", "budget"]


def test_both_copies_of_the_best_row_are_never_lost():
    # distilabel's DeitaFiltering compares with the nearest row of the whole pool: of the best
    # row and its copy it keeps neither.
    rows = clustered(40, 40, 0.0)
    pool = np.vstack([rows, rows[:1]])
    frame = make_frame([0.0, *np.arange(1.0, 40.0), 0.5])
    selection = select_by_nll(frame, Rows(10), Spacing(DEFAULT_DISTANCE, pool))
    assert 0 in selection.kept_rows
    assert selection.decisions["reason"][40] == "near:0"
    assert len(selection.kept_rows) == 10


def test_a_copy_with_a_better_rank_stays_whichever_row_comes_first():
    for nll, kept in (([2.0, 1.0], 1), ([1.0, 2.0], 0), ([1.0, 1.0], 0)):
        selection = select_by_nll(make_frame(nll), Rows(2), Spacing(0.2, at_angles(0, 0)))
        assert selection.kept_rows.tolist() == [kept]
        assert selection.decisions["reason"][1 - kept] == f"near:{kept}"


def test_exact_duplicates_of_different_ranks_are_one_candidate():
    # By content hash the first row with its values stands for the text, before any distance.
    frame = make_frame([5.0, 1.0, 2.0], texts=[7, 7, 8])
    selection = select_by_nll(frame, Rows(3), Spacing(TEN, at_angles(0, 0, 3)))
    assert selection.decisions["reason"].to_list() == ["near:2", "duplicate_of:0", "selected"]


def test_of_a_pool_of_one_text_one_row_stays():
    n = 3_000
    selection = select_by_nll(
        make_frame(np.arange(n, 0.0, -1).tolist()), Rows(10), Spacing(0.01, at_angles(*[7.0] * n))
    )
    assert selection.kept_rows.tolist() == [n - 1]
    assert selection.reasons == {"near": n - 1, "selected": 1}
    assert selection.notes == (
        "asked for 10 rows; kept 1: the other 2,999 that can be kept are nearer than 0.01 to "
        "one of these (pool of 3,000: 0 duplicates, 0 unscored)",
    )


def test_a_pool_of_ordinary_distances_fills_its_budget():
    # On embeddings of a mean cosine of 0.6 distilabel's default selected 0 of 50.
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(500, 384)) + 1.25
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.mean(rows @ rows.T) == pytest.approx(0.6, abs=0.05)
    frame = make_frame(rng.normal(size=500).tolist())
    spacing = Spacing(DEFAULT_DISTANCE, rows.astype(np.float32))
    assert len(select_by_nll(frame, Rows(50), spacing).kept_rows) == 50


def test_a_target_size_is_met_among_near_duplicates():
    # semhash #72 asks for a target size N; what is near costs nothing of it.
    frame = make_frame(np.linspace(0, 1, 400).tolist())
    selection = select_by_nll(frame, Rows(60), Spacing(0.5, clustered(400, 80, 0.01)))
    assert len(selection.kept_rows) == 60
    assert selection.reasons["near"] > 30
    assert selection.notes == ()


def test_a_distance_that_is_not_met_is_said_and_not_relaxed():
    vectors = clustered(100, 7, 0.01)
    frame = make_frame(np.arange(100.0).tolist())
    selection = select_by_nll(frame, Rows(50), Spacing(0.5, vectors))
    assert len(selection.kept_rows) == 7
    assert measured(vectors, selection.kept_rows).min() >= 0.5
    assert "kept 7: the other 93 that can be kept are nearer than 0.5" in selection.notes[0]
    tokens = select_by_nll(frame, Tokens(900), Spacing(0.5, vectors))
    assert "asked for 900 tokens; kept 7 rows: the other 93" in tokens.notes[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_row_without_an_embedding_is_never_kept(bad):
    vectors = at_angles(0, 40, 80)
    vectors[1] = bad
    selection = select_by_nll(make_frame([2.0, 1.0, None]), Rows(3), Spacing(TEN, vectors))
    assert selection.decisions["reason"].to_list() == [
        "selected", "unscored:embedding", "unscored:nll",
    ]  # fmt: skip
    assert selection.decisions["rank"].to_list() == [1, None, None]
    place = Spacing(TEN, at_angles(0, 40), np.array([1, -1, 0]))
    placed = select_by_nll(make_frame([2.0, 1.0, 3.0]), Rows(3), place)
    assert placed.decisions["reason"].to_list() == ["selected", "unscored:embedding", "selected"]


def test_pools_without_embeddings_and_without_rows():
    nothing = np.empty((0, 0), dtype=np.float32)
    none = select_by_nll(make_frame([None]), Rows(1), Spacing(0.5, nothing, np.array([-1])))
    assert none.reasons == {"unscored:nll": 1}
    empty = Spacing(0.5, nothing, np.empty(0, dtype=np.int64))
    assert select_by_nll(make_frame([]), Rows(1), empty).decisions.height == 0


def test_embeddings_of_another_pool_or_length_are_refused():
    frame = make_frame([1.0, 2.0])
    for vectors, said in [
        (at_angles(0, 1, 2), "one vector per row"),
        (np.zeros(2), "one vector per row"),
        (2 * at_angles(0, 1), "an embedding of length 2"),
        (0.5 * at_angles(0, 1), "an embedding of length 0.5"),
    ]:
        with pytest.raises(InputError, match=said) as caught:
            select_by_nll(frame, Rows(1), Spacing(0.5, vectors))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["0", "2", "-1", "nan", "inf", "near", "", True, 0, 2.0, None])
def test_distances_out_of_range_are_refused(value):
    with pytest.raises(InputError, match="above 0 and below 2"):
        parse_distance(value)
    if isinstance(value, float):
        with pytest.raises(InputError):
            Spacing(value, at_angles(0))


def test_distances_are_read():
    assert [parse_distance(value) for value in ("0.45", " 1 ", 0.2, 1)] == [0.45, 1.0, 0.2, 1.0]


def test_decisions_record_the_distance_and_what_measured_it():
    spacing = Spacing(0.5, at_angles(0, 90), recorded={"encoder": {"model": "mini"}})
    metadata = select_by_nll(make_frame([1.0, 2.0]), Rows(2), spacing).metadata()
    assert metadata["params"]["spacing"] == {"min_distance": 0.5, "encoder": {"model": "mini"}}


def test_rows_compared_in_part_are_counted_aloud():
    # Two questions about one long passage are near by their beginnings alone.
    vectors = at_angles(0, 1, 2, 90)
    partial = np.array([False, True, False, True])
    frame = make_frame([1.0, 2.0, 3.0, 4.0])
    selection = select_by_nll(frame, Rows(2), Spacing(TEN, vectors, partial=partial))
    assert selection.notes == (
        "1 of the 2 rows dropped as too near are longer than the encoder reads: "
        "only their beginnings were compared",
    )
    whole = Spacing(TEN, vectors, partial=np.zeros(4, dtype=bool))
    assert select_by_nll(frame, Rows(2), whole).notes == ()


def test_memory_stays_far_below_all_pairs():
    n = 8_000
    spacing = Spacing(0.3, clustered(n, n, 0.5, d=8))
    frame = make_frame(np.arange(float(n)).tolist())
    tracemalloc.start()
    select_by_nll(frame, Rows(n), spacing)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * n * 4 / 2


shapes = st.tuples(
    st.integers(1, 40),  # rows
    st.integers(1, 12),  # centres
    st.sampled_from([0.0, 1e-4, 0.05, 0.3, 1.0]),
    st.integers(0, 10**6),
)
distances = st.floats(0.05, 1.9)


@given(shapes, distances, st.integers(1, 45), st.booleans())
def test_greedy_choice_is_the_one_made_by_hand(shape, distance, budget, in_tokens):
    n, centres, width, seed = shape
    vectors = clustered(n, centres, width, seed=seed, d=5)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, n)
    frame = make_frame(rng.permutation(n).astype(float).tolist(), lengths=lengths.tolist())
    order = np.argsort(frame["nll"].to_numpy())
    total = 4 * budget if in_tokens else budget
    costs = lengths[order].tolist() if in_tokens else [1] * n
    asked = Tokens(total) if in_tokens else Rows(total)
    selection = select_by_nll(frame, asked, Spacing(distance, vectors))
    kept, near = chosen_by_hand(total, costs, vectors=vectors[order], distance=distance)
    assert selection.kept_rows.tolist() == sorted(order[kept].tolist())
    assert near_rows(selection) == {int(order[a]): int(order[b]) for a, b in near.items()}


@given(shapes, distances, st.integers(1, 45))
def test_rows_kept_are_apart_and_every_one_dropped_for_it_lies_near_a_better_one(
    shape, distance, budget
):
    n, centres, width, seed = shape
    vectors = clustered(n, centres, width, seed=seed, d=5)
    frame = make_frame(np.random.default_rng(seed).integers(0, 9, n).astype(float).tolist())
    selection = select_by_nll(frame, Rows(budget), Spacing(distance, vectors))
    decisions = selection.decisions
    assert sum(selection.reasons.values()) == n
    assert decisions.sort("rank")["kept"][0]
    assert measured(vectors, selection.kept_rows).min() >= distance
    rank, kept = decisions["rank"].to_list(), decisions["kept"].to_list()
    for row, reason in decisions.select("row", "reason").iter_rows():
        if reason.startswith("near:"):
            other = int(reason.removeprefix("near:"))
            assert kept[other] and rank[other] < rank[row]
            gap = vectors[row].astype(float) - vectors[other].astype(float)
            assert np.linalg.norm(gap) < distance + 1e-9


@given(shapes, distances, st.integers(1, 45))
def test_removing_near_duplicates_first_keeps_the_same_rows(shape, distance, budget):
    # Which is why one option is both: a pool thinned before the cut, and a diverse choice.
    n, centres, width, seed = shape
    vectors = clustered(n, centres, width, seed=seed, d=5)
    frame = make_frame(np.random.default_rng(seed).permutation(n).astype(float).tolist())
    spacing = Spacing(distance, vectors)
    thinned = select_by_nll(frame, Fraction(1.0), spacing).kept_by_rank
    assert select_by_nll(frame, Rows(budget), spacing).kept_by_rank.tolist() == (
        thinned[:budget].tolist()
    )


@given(shapes, distances, st.sampled_from([Rows, Tokens]), st.integers(1, 60), st.integers(0, 60))
def test_a_smaller_budget_keeps_a_subset(shape, distance, kind, small, more):
    n, centres, width, seed = shape
    spacing = Spacing(distance, clustered(n, centres, width, seed=seed, d=5))
    frame = make_frame(
        np.random.default_rng(seed).permutation(n).astype(float).tolist(), lengths=[3.0] * n
    )
    fewer = set(select_by_nll(frame, kind(small), spacing).kept_rows.tolist())
    assert fewer <= set(select_by_nll(frame, kind(small + more), spacing).kept_rows.tolist())


@given(shapes, distances, st.integers(1, 45))
def test_the_order_of_the_pool_does_not_matter(shape, distance, budget):
    n, centres, width, seed = shape
    vectors = clustered(n, centres, width, seed=seed, d=5)
    rng = np.random.default_rng(seed)
    nll = rng.permutation(n).astype(float)
    turned = rng.permutation(n)
    one = select_by_nll(make_frame(nll.tolist()), Rows(budget), Spacing(distance, vectors))
    two = select_by_nll(
        make_frame(nll[turned].tolist()), Rows(budget), Spacing(distance, vectors[turned])
    )
    assert sorted(turned[two.kept_rows].tolist()) == one.kept_rows.tolist()


@pytest.mark.parametrize(("block", "tile"), [(1, 1), (3, 4), (64, 5), (10_000, 10_000)])
def test_the_size_of_blocks_changes_nothing(monkeypatch, block, tile):
    vectors = clustered(500, 60, 0.15)
    frame = make_frame(np.random.default_rng(2).permutation(500).astype(float).tolist())
    wanted = select_by_nll(frame, Rows(400), Spacing(0.6, vectors)).decisions
    assert 20 < wanted["kept"].sum() < 400
    monkeypatch.setattr(choosing, "_BLOCK", block)
    monkeypatch.setattr(spaces, "_TILE", tile)
    monkeypatch.setattr(spaces, "_CHUNK", 64)
    again = select_by_nll(frame, Rows(400), Spacing(0.6, vectors)).decisions
    assert again.equals(wanted, null_equal=True)


def test_distances_of_nearly_equal_rows_have_all_their_digits():
    # By inner products in 32 bits these are equal: 1 - cos(0.01 degrees) is 1.5e-8.
    vectors = at_angles(0, 0.01, 0.02)
    step = 2 * np.sin(np.radians(0.005))
    for distance, kept in ((0.9 * step, [0, 1, 2]), (1.1 * step, [0, 2]), (3 * step, [0])):
        nearby = Nearby(Spacing(distance, vectors), np.arange(3))
        choice = choosing.choose(3, np.ones(3, int), None, np.zeros(3, int), nearby)
        assert np.flatnonzero(choice.kept).tolist() == kept
