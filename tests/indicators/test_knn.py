"""Neighbour distances against brute force in 64 bits."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructmining.errors import InputError
from instructmining.indicators import _graph, knn
from instructmining.indicators.base import Reference
from instructmining.indicators.knn import NeighbourDistance, kth_neighbour_distance


def unit_rows(n, d=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def names(n, start=0):
    return [f"text {i}" for i in range(start, start + n)]


def brute_force(queries, query_keys, reference, reference_keys, k):
    """Sort all distances to other texts, one query and one pair at a time."""
    first = {}
    for key, row in zip(reference_keys, reference.astype(np.float64), strict=True):
        first.setdefault(key, row)
    found = []
    for key, query in zip(query_keys, queries.astype(np.float64), strict=True):
        others = sorted(np.linalg.norm(query - row) for k_, row in first.items() if k_ != key)
        found.append(others[k - 1] if len(others) >= k else np.nan)
    return np.asarray(found)


def test_distances_worked_by_hand():
    # East, north, west and a point at sixty degrees, by their angles on the unit circle.
    angles = np.deg2rad([0, 90, 180, 60])
    points = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    keys = ["east", "north", "west", "between"]

    first = kth_neighbour_distance(points, keys, points, keys, 1)
    third = kth_neighbour_distance(points, keys, points, keys, 3)

    # The chord of an angle is twice the sine of its half.
    thirty = 2 * np.sin(np.deg2rad(15))
    np.testing.assert_allclose(first, [1, thirty, np.sqrt(2), thirty], atol=1e-7)
    np.testing.assert_allclose(third, [2, np.sqrt(2), 2, np.sqrt(3)], atol=1e-7)


@pytest.mark.parametrize("k", [1, 6, 40])
def test_distances_are_those_of_brute_force(k):
    reference, keys = unit_rows(60), names(60)
    # Some texts of the reference among the queries, some not.
    queries, query_keys = np.vstack([reference[20:], unit_rows(25, seed=1)]), names(65, start=20)

    ours = kth_neighbour_distance(queries, query_keys, reference, keys, k)

    assert ours.dtype == np.float64
    wanted = brute_force(queries, query_keys, reference, keys, k)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)


def test_close_neighbours_keep_their_digits():
    # Products of such rows differ in the last bits of float32 only.
    centre = unit_rows(1, d=384)
    steps = (
        np.random.default_rng(0).standard_normal((30, 384)) * np.geomspace(1e-7, 1e-3, 30)[:, None]
    )
    cluster = (centre + steps).astype(np.float32)
    cluster /= np.linalg.norm(cluster, axis=1, keepdims=True)
    keys = names(30)

    ours = kth_neighbour_distance(cluster, keys, cluster, keys, 20)

    wanted = brute_force(cluster, keys, cluster, keys, 20)
    np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=0)


def test_more_queries_than_one_block():
    reference, keys = unit_rows(50, d=8), names(50)
    queries, query_keys = unit_rows(2_100, d=8, seed=1), names(2_100, start=30)
    queries[:20] = reference[30:]

    ours = kth_neighbour_distance(queries, query_keys, reference, keys, 6)

    wanted = brute_force(queries, query_keys, reference, keys, 6)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)


def test_a_text_is_not_its_own_neighbour_however_often_it_stands_there():
    rows, keys = unit_rows(4), names(4)
    repeated, repeated_keys = np.vstack([rows, rows[[0, 0, 0]]]), [*keys, *keys[:1] * 3]

    ours = kth_neighbour_distance(rows, keys, repeated, repeated_keys, 1)

    np.testing.assert_array_equal(ours, kth_neighbour_distance(rows, keys, rows, keys, 1))
    assert ours[0] > 0.1


def test_a_repeated_neighbour_counts_once():
    rows, keys = unit_rows(10), names(10)
    repeated, repeated_keys = np.vstack([rows] * 5), keys * 5

    for k in (1, 2, 9):
        ours = kth_neighbour_distance(rows, keys, repeated, repeated_keys, k)
        np.testing.assert_array_equal(ours, kth_neighbour_distance(rows, keys, rows, keys, k))
    assert np.isnan(kth_neighbour_distance(rows, keys, repeated, repeated_keys, 10)).all()


def test_another_text_with_the_same_embedding_is_a_neighbour_at_zero():
    rows = unit_rows(3)

    ours = kth_neighbour_distance(rows[:1], ["mine"], rows, ["twin", "b", "c"], 1)

    assert ours.tolist() == [0.0]


def test_too_few_others_leave_the_distance_undefined():
    rows, keys = unit_rows(6), names(6)

    def undefined(query_keys, k):
        return np.isnan(kth_neighbour_distance(rows, query_keys, rows, keys, k)).tolist()

    assert undefined(keys, 5) == [False] * 6
    assert undefined(keys, 6) == [True] * 6
    # Five of the queries are texts of their own and have one neighbour more.
    assert undefined([*keys[:1], *names(5, start=90)], 6) == [True] + [False] * 5
    assert undefined(keys, 300) == [True] * 6


def test_an_empty_reference_leaves_everything_undefined():
    ours = kth_neighbour_distance(unit_rows(3), names(3), np.empty((0, 16), np.float32), [], 1)

    assert np.isnan(ours).tolist() == [True] * 3


def test_no_queries_no_distances():
    empty = np.empty((0, 16), np.float32)

    assert kth_neighbour_distance(empty, [], unit_rows(9), names(9), 2).shape == (0,)


def test_order_of_queries_and_reference_changes_nothing():
    rows, keys = unit_rows(80), np.asarray(names(80))
    wanted = kth_neighbour_distance(rows, keys.tolist(), rows, keys.tolist(), 6)
    random = np.random.default_rng(3)
    mine, theirs = random.permutation(80), random.permutation(80)

    ours = kth_neighbour_distance(
        rows[mine], keys[mine].tolist(), rows[theirs], keys[theirs].tolist(), 6
    )

    np.testing.assert_allclose(ours, wanted[mine], rtol=0, atol=1e-12)


# Among themselves, every pair multiplied once


@pytest.mark.parametrize("n", [63, 65, 300, 5_000])
@pytest.mark.parametrize("k", [1, 6])
def test_rows_among_themselves_have_the_distances_of_any_other_queries(n, k):
    rows, keys = unit_rows(n, d=8), names(n)

    ours = kth_neighbour_distance(rows, keys, rows.copy(), keys, k)

    # Queries in another order of bits are compared one block at a time.
    few = np.random.default_rng(0).permutation(n)[: n // 3]
    others = kth_neighbour_distance(rows[few], np.asarray(keys)[few].tolist(), rows, keys, k)
    np.testing.assert_array_equal(ours[few], others)
    wanted = brute_force(rows[:4], keys[:4], rows, keys, k)
    np.testing.assert_allclose(ours[:4], wanted, rtol=0, atol=1e-12)


def test_queries_beside_the_reference_repeated_and_not_quite_the_same():
    rows, keys = unit_rows(200), names(200)
    other = rows[:1] + np.float32(1e-3)
    # All rows of the reference, one of them twice, one whose vector differs, one new text.
    queries = np.vstack([rows, rows[7:8], other, unit_rows(1, seed=5)])
    query_keys = [*keys, keys[7], keys[0], "new"]

    ours = kth_neighbour_distance(queries, query_keys, rows, keys, 6)

    wanted = brute_force(queries, query_keys, rows, keys, 6)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)
    assert ours[200] == ours[7]
    assert ours[201] != ours[0]


def test_rows_sorted_from_the_farthest_to_the_nearest():
    # Every tile holds better neighbours than all before it.
    angles = np.linspace(3, 0, 3_000)
    rows = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    keys = names(3_000)

    ours = kth_neighbour_distance(rows[-5:], keys[-5:], rows, keys, 6)

    np.testing.assert_allclose(
        ours, brute_force(rows[-5:], keys[-5:], rows, keys, 6), rtol=0, atol=1e-12
    )


def test_thousands_of_equal_rows_have_neighbours_at_zero():
    rows = np.repeat(unit_rows(2), 2_000, axis=0)

    assert not kth_neighbour_distance(rows, names(4_000), rows, names(4_000), 6).any()


@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(1, 12), st.integers(1, 30), st.integers(0)
)
@settings(deadline=None)
def test_any_pool_against_brute_force(n, m, k, n_keys, seed):
    random = np.random.default_rng(seed)
    texts = unit_rows(n_keys, seed=seed % 1_000)
    queries, reference = random.integers(n_keys, size=n), random.integers(n_keys, size=m)
    query_keys, keys = [f"{i}" for i in queries], [f"{i}" for i in reference]

    ours = kth_neighbour_distance(texts[queries], query_keys, texts[reference], keys, k)

    wanted = brute_force(texts[queries], query_keys, texts[reference], keys, k)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)


def test_keys_may_be_bytes_in_an_array():
    rows, keys = unit_rows(30), names(30)
    digests = np.asarray([key.encode() for key in keys])

    ours = kth_neighbour_distance(rows, digests, rows, digests, 6)

    np.testing.assert_array_equal(ours, kth_neighbour_distance(rows, keys, rows, keys, 6))


def test_rows_without_a_direction_are_undefined_and_nobodys_neighbour():
    rows, keys = unit_rows(20), names(20)
    wanted = kth_neighbour_distance(rows[1:], keys[1:], rows[1:], keys[1:], 3)
    rows[0] = np.nan

    ours = kth_neighbour_distance(rows, keys, rows, keys, 3)

    assert np.isnan(ours[0])
    np.testing.assert_array_equal(ours[1:], wanted)


def test_memory_does_not_grow_with_queries_or_k():
    rows, keys = unit_rows(1_100, d=64), names(1_100)
    many = unit_rows(2_100, d=64, seed=1)

    tracemalloc.start()
    kth_neighbour_distance(many, names(2_100, start=1_100), rows, keys, 999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # The differences of one block of 1,024 queries alone would take 528 MB.
    assert peak < 200e6


# Approximate search


def crowded_rows(n, d=16):
    """Rows in clusters, of which a graph finds the neighbours."""
    rows = unit_rows(20, d)[np.arange(n) % 20] + 0.1 * unit_rows(n, d, seed=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_small_pools_are_searched_exactly():
    rows, keys = unit_rows(50), names(50)

    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))

    assert compared.definition == compared.recorded == {}
    np.testing.assert_array_equal(
        compared.values, NeighbourDistance().transform_pool(keys, rows, Reference(keys, rows, ""))
    )


def test_large_pools_are_searched_by_a_graph_that_says_so(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(knn, "_EXACT_ROWS", 1_000)
    rows, keys = crowded_rows(2_000), names(2_000)
    keys[3] = keys[4]

    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))

    assert compared.definition == {"search": "usearch"}
    assert compared.recorded["recall"] >= 0.98
    assert compared.recorded["recall_queries"] == 1_000
    wanted = kth_neighbour_distance(rows, keys, rows, keys, 6)
    assert np.mean(compared.values[:, 0] == wanted) > 0.97
    # What is found is never nearer than the true neighbour.
    assert (compared.values[:, 0] >= wanted).all()


def test_a_large_reference_is_cut_into_shards_whose_neighbours_are_merged(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(knn, "_EXACT_ROWS", 1_000)
    monkeypatch.setattr(_graph, "SHARD_ROWS", 450)
    rows, keys = crowded_rows(2_000), names(2_000)
    keys[3] = keys[4]

    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))

    assert compared.recorded["shards"] == 5
    assert compared.recorded["recall"] >= 0.98
    wanted = kth_neighbour_distance(rows, keys, rows, keys, 6)
    assert np.mean(compared.values[:, 0] == wanted) > 0.97
    assert (compared.values[:, 0] >= wanted).all()


def test_a_shard_with_fewer_rows_than_neighbours_wanted(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(knn, "_EXACT_ROWS", 20)
    monkeypatch.setattr(_graph, "SHARD_ROWS", 7)
    rows, keys = unit_rows(60), names(60)
    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))
    assert compared.recorded["shards"] == 9
    wanted = kth_neighbour_distance(rows, keys, rows, keys, 6)
    np.testing.assert_array_equal(compared.values[:, 0], wanted)


def test_few_queries_are_searched_exactly_however_large_the_reference(monkeypatch):
    monkeypatch.setattr(knn, "_EXACT_ROWS", 1_000)
    rows, keys = crowded_rows(2_000), names(2_000)

    compared = NeighbourDistance().compare(keys[:9], rows[:9], Reference(keys, rows, "pool"))

    assert compared.recorded == {}


def test_a_graph_that_misses_neighbours_gives_way_to_the_exact_search(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(knn, "_EXACT_ROWS", 1_000)
    monkeypatch.setattr(_graph, "WANTED_RECALL", 1.01)
    rows, keys = crowded_rows(1_500), names(1_500)

    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))

    assert compared.definition == {}
    assert compared.recorded["search"] == "exact"
    assert "usearch found" in compared.recorded["note"]
    wanted = kth_neighbour_distance(rows, keys, rows, keys, 6)
    np.testing.assert_array_equal(compared.values[:, 0], wanted)


def test_without_usearch_the_search_is_exact_and_says_why(monkeypatch):
    monkeypatch.setattr(knn, "_EXACT_ROWS", 100)
    monkeypatch.setitem(sys.modules, "usearch", None)
    rows, keys = unit_rows(200), names(200)

    compared = NeighbourDistance().compare(keys, rows, Reference(keys, rows, "pool"))

    assert compared.definition == {}
    assert "instructmining[knn]" in compared.recorded["note"]
    wanted = kth_neighbour_distance(rows, keys, rows, keys, 6)
    np.testing.assert_array_equal(compared.values[:, 0], wanted)


# The indicator


def test_the_column_is_named_by_k():
    rows, keys = unit_rows(12), names(12)
    reference = Reference(keys, rows, "pool")

    for k in (1, 6):
        indicator = NeighbourDistance(k)
        assert [column.name for column in indicator.columns] == [f"knn_{k}"]
        values = indicator.transform_pool(keys, rows, reference)
        assert values.shape == (12, 1)
        np.testing.assert_allclose(
            values[:, 0], brute_force(rows, keys, rows, keys, k), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("column", ["knn_0", "knn_06", "knn_", "knn_1000", "knn_6x", "knn", "nn_6"])
def test_other_names_are_not_parsed(column):
    assert NeighbourDistance.parse(column) is None


def test_names_are_parsed():
    assert NeighbourDistance.parse("knn_1") == NeighbourDistance(1)
    assert NeighbourDistance.parse("knn_10") == NeighbourDistance(10)


@pytest.mark.parametrize("k", [0, -1])
def test_there_is_no_neighbour_before_the_first(k):
    with pytest.raises(InputError, match="1 or more is wanted"):
        NeighbourDistance(k)


def test_a_batch_without_its_pool_is_refused():
    with pytest.raises(TypeError, match="transform_pool"):
        NeighbourDistance().transform([], None)
