"""Neighbour distances against brute force in 64 bits."""

from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import InputError
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
