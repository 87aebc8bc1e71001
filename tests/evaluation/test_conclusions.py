from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from instructmining.errors import ExperimentError
from instructmining.evaluation.conclusions import (
    BETTER,
    NOT_SHOWN,
    SAME,
    UNRESOLVED,
    WORSE,
    Conclusion,
    Terms,
    combine,
    conclude,
    holm,
)


@pytest.mark.parametrize("n", [1, 2, 5, 18])
def test_holm_is_that_of_statsmodels(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(5):
        p = rng.uniform(size=n) ** 3
        p[rng.integers(n)] = p[0]  # ties
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_of_several_families_and_of_none() -> None:
    p = np.random.default_rng(0).uniform(size=(3, 4, 5)) ** 2
    np.testing.assert_array_equal(holm(p)[1, 2], holm(p[1, 2]))
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(
    ("relative", "p", "p_equal", "expected"),
    [
        (-0.012, 0.01, 1.0, BETTER),
        (0.012, 0.01, 1.0, WORSE),
        (-0.012, 0.05, 1.0, NOT_SHOWN),
        (0.0001, 0.9, 0.04, SAME),
        # There is a difference, and it does not matter.
        (-0.001, 0.01, 0.01, SAME),
        # There is one, and whether it matters is not known.
        (-0.004, 0.01, 0.6, NOT_SHOWN),
        (0.0, 1.0, 0.06, NOT_SHOWN),
    ],
)
def test_conclusions_from_one_difference(relative, p, p_equal, expected) -> None:
    assert conclude(np.log1p(relative), p, p_equal, Terms()) == expected


def test_margin_and_level_are_those_of_the_terms() -> None:
    assert conclude(np.log(0.99), 0.01, 1.0, Terms(margin=0.02)) == NOT_SHOWN
    assert conclude(np.log(0.99), 0.01, 1.0, Terms(level=0.005)) == NOT_SHOWN
    assert conclude(np.log(0.999), 0.01, 1.0, Terms(margin=0.0)) == BETTER


def test_both_weightings_must_agree_on_a_direction() -> None:
    one: tuple[Conclusion, ...] = (BETTER, WORSE, SAME, NOT_SHOWN)
    for token, example in product(one, one):
        if token == example:
            expected = token
        elif {token, example} == {SAME, NOT_SHOWN}:
            expected = NOT_SHOWN
        else:
            expected = UNRESOLVED
        assert combine(token, example) == expected
    assert set(get_args(Conclusion)) >= set(one)


@pytest.mark.parametrize(
    "wrong",
    [{"margin": -0.1}, {"margin": np.nan}, {"tie": -1.0}, {"level": 0.0}, {"level": 1.0},
     {"level": np.nan}, {"n_boot": 0}],
)  # fmt: skip
def test_terms_that_mean_nothing_are_refused(wrong) -> None:
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        Terms(**wrong)
