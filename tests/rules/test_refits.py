from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instructmining.rules.choose import all_columns
from instructmining.rules.refits import left_out_errors, moments, refit
from instructmining.rules.regression import MixtureMeans, estimate

from .test_regression import means_of


def counted(means: MixtureMeans, counts: np.ndarray) -> MixtureMeans:
    """The mixtures of one refit, those that count twice twice."""
    places = np.repeat(np.arange(len(means)), counts.astype(int))
    return replace(
        means,
        x=means.x[places],
        y=means.y[places],
        shares=means.shares[places],
        weights=means.weights[places],
    )


@pytest.mark.parametrize("with_shares", [False, True])
def test_many_refits_are_as_many_fits(with_shares: bool) -> None:
    means = means_of() if with_shares else means_of().without_shares()
    rng = np.random.default_rng(3)
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=5).astype(float)
    found = refit(means, counts, all_columns)
    for i, own in enumerate(counts):
        expected = estimate(counted(means, own))
        np.testing.assert_allclose(found.coefficients[i], expected.coefficients[1:], rtol=1e-7)
        fitted = found.predict(means, with_shares=True)[i][
            np.repeat(np.arange(30), own.astype(int))
        ]
        np.testing.assert_allclose(fitted, expected.fitted, rtol=1e-7)
        plain = found.predict(means, with_shares=False)[i]
        np.testing.assert_allclose(
            plain, expected.coefficients[0] + means.x @ expected.coefficients[1:], rtol=1e-7
        )


def test_a_source_never_seen_has_the_mean_level_of_the_others() -> None:
    means = means_of(60, 3, weighted=False)
    shares = np.eye(4)[np.arange(60) % 4]
    levels = np.array([0.0, 3.0, 6.0, 100.0])
    means = replace(means, shares=shares, y=shares @ levels).only(())
    counts = (shares[:, 3] == 0).astype(float)[np.newaxis]
    predicted = refit(means, counts, all_columns).predict(means, with_shares=True)[0]
    np.testing.assert_allclose(predicted[:4], [0.0, 3.0, 6.0, 3.0], atol=1e-9)


def test_columns_that_say_the_same_in_a_draw_raise_nothing() -> None:
    means = means_of(10, 1, weighted=False)
    counts = np.zeros((1, 10))
    counts[0, 0] = 10
    assert np.isfinite(refit(means, counts, all_columns).coefficients).all()


@pytest.mark.parametrize("penalty", [1e-3, 0.5])
def test_errors_left_out_are_those_of_fits_without_the_mixture(penalty: float) -> None:
    means = means_of()
    counts = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30)).astype(float)
    weights = counts * means.weights
    spread = means.x.std(axis=0, ddof=1)
    squares = 0.0
    for i in np.flatnonzero(counts):
        own = np.where(np.arange(30) == i, 0.0, weights)
        terms = np.column_stack([np.ones(30), means.shares[:, 1:], means.x / spread])
        shrunken = np.diag([0, 0, 0, *[penalty * weights.sum()] * 2])
        solved = np.linalg.solve(
            terms.T @ (own[:, None] * terms) + shrunken, terms.T @ (own * means.y)
        )
        squares += weights[i] * (means.y[i] - terms[i] @ solved) ** 2
    found = left_out_errors(moments(means, counts[np.newaxis]), np.array([penalty]))
    assert found[0, 0] == pytest.approx(squares / weights.sum())
