"""Percentiles in two rounds are numpy's, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from instructmining.parts import percentiles
from instructmining.parts.percentiles import Sketch, Within, bracket, interpolate


def in_rounds(pieces: list[np.ndarray], percentile: float) -> float:
    sketches = [Sketch.of(piece) for piece in pieces]
    between = bracket(sketches, percentile)
    found = [Within.of(piece, between) for piece in pieces]
    return interpolate(found, sum(one.n for one in sketches), percentile)


@pytest.mark.parametrize("told", [2, 5, 1_024])
@pytest.mark.parametrize("seed", range(12))
def test_they_are_numpys(monkeypatch, told, seed):
    monkeypatch.setattr(percentiles, "_TOLD", told)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 200, rng.integers(1, 8)).tolist()
    pieces = [np.exp(rng.normal(size=size)) for size in [*sizes, 1]]
    if seed % 3 == 1:
        pieces = [np.round(piece) for piece in pieces]
    if seed % 4 == 2:
        pieces = [np.where(rng.random(len(piece)) < 0.2, np.nan, piece) for piece in pieces]
    values = np.concatenate(pieces)
    known = values[np.isfinite(values)]
    if not len(known):
        return
    for percentile in (0.0, 1.0, 37.7, 50.0, 99.0, 100.0):
        assert in_rounds(pieces, percentile) == np.percentile(known, percentile)


def test_few_values_are_sent():
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=50_000) for _ in range(4)]
    sketches = [Sketch.of(piece) for piece in pieces]
    between = bracket(sketches, 99.0)
    assert sum(len(Within.of(piece, between).values) for piece in pieces) < 1_000


def test_many_equal_values_are_one():
    pieces = [np.full(1_000, 7.0), np.array([1.0, 9.0])]
    found = Within.of(pieces[0], bracket([Sketch.of(piece) for piece in pieces], 50.0))
    assert (found.values.tolist(), found.counts.tolist()) == ([7.0], [1_000])
    assert in_rounds(pieces, 50.0) == 7.0
