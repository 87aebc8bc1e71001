from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import InputError
from instructmining.overlap.embedded import EmbeddedIndex, unread_notes
from instructmining.overlap.texts import Overlap


def circle(*degrees: float) -> np.ndarray:
    around = np.radians(degrees)
    return np.stack([np.cos(around), np.sin(around)], axis=1).astype(np.float32)


def test_the_nearest_example_is_named_and_those_at_the_distance_are_far_enough():
    index = EmbeddedIndex(0.5, circle(0, 20, 180), ["east", "near east", "west"])
    # A chord of 0.5 spans 28.96 degrees.
    found = index.find(circle(8, 12, 48, 50, 209), np.arange(5))
    assert found == {
        0: Overlap("embedding", "east"),
        1: Overlap("embedding", "near east"),
        2: Overlap("embedding", "near east"),
    }


def test_of_equally_near_examples_the_first_counts():
    index = EmbeddedIndex(1.0, circle(10, 10), ["first", "second"])
    assert index.find(circle(12), np.zeros(1, dtype=int))[0].text == "first"


def test_rows_share_embeddings_and_some_have_none():
    values = np.vstack([circle(0, 90), np.full((1, 2), np.nan, dtype=np.float32)])
    found = EmbeddedIndex(0.1, circle(90), ["north"]).find(values, np.array([1, -1, 0, 1, 2]))
    assert sorted(found) == [0, 3]


@pytest.mark.parametrize("shape", [(0, 2), (0, 0)])
def test_without_examples_or_rows_nothing_is_near(shape):
    nothing = np.zeros(shape, dtype=np.float32)
    assert EmbeddedIndex(0.5, nothing, []).find(circle(1), np.zeros(1, dtype=int)) == {}
    none = np.full(3, -1)
    assert EmbeddedIndex(0.5, circle(1), ["a"]).find(nothing, none) == {}


def test_agrees_with_every_pair_measured():
    generator = np.random.default_rng(0)

    def unit(n: int) -> np.ndarray:
        values = generator.standard_normal((n, 6))
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    examples, rows = unit(300), unit(2500)
    place = generator.permutation(2500)
    found = EmbeddedIndex(0.35, examples, [str(i) for i in range(300)]).find(rows, place)
    between = np.linalg.norm(
        rows[place].astype(np.float64)[:, None] - examples.astype(np.float64)[None], axis=2
    )
    near = np.flatnonzero(between.min(axis=1) < 0.35)
    assert 100 < len(near) < 2400
    assert {row: one.text for row, one in found.items()} == {
        int(row): str(between[row].argmin()) for row in near
    }


def test_what_is_no_unit_vector_is_refused():
    with pytest.raises(InputError, match="unit vectors"):
        EmbeddedIndex(0.5, 2 * circle(0), ["a"])


def test_what_was_not_read_is_said():
    place, partial = np.array([0, -1, 1, 1]), np.array([False, True])
    missing, cut = unread_notes("rows", place, partial)
    assert missing.startswith("1 of 4 rows have no response and no embedding")
    assert cut.startswith("2 of 4 rows are longer than the encoder reads")
    assert unread_notes("rows", np.array([0]), np.array([False])) == ()
