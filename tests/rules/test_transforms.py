from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import RuleError
from instructmining.rules.transforms import TRANSFORMS, apply_transform, feature_name


@pytest.fixture
def values() -> np.ndarray:
    values = np.random.default_rng(0).lognormal(3.0, 2.0, size=500)
    values[[3, 77]] = np.nan
    return values


def test_identity_and_log1p_by_hand() -> None:
    np.testing.assert_array_equal(apply_transform("identity", np.array([1, -2])), [1.0, -2.0])
    np.testing.assert_allclose(apply_transform("log1p", np.array([0.0, np.e - 1])), [0.0, 1.0])


def test_clip_cuts_at_the_percentiles_of_the_defined_values(values: np.ndarray) -> None:
    low, high = np.nanpercentile(values, [1, 99])
    np.testing.assert_array_equal(apply_transform("clip", values), np.clip(values, low, high))
    assert np.nanmax(values) > high


def test_clip_comes_before_log1p(values: np.ndarray) -> None:
    clipped = apply_transform("clip", values)
    np.testing.assert_array_equal(apply_transform("clip+log1p", values), np.log1p(clipped))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_undefined_stays_undefined_and_the_input_as_it_was(name: str, values: np.ndarray) -> None:
    values[5] = np.inf
    before = values.copy()
    result = apply_transform(name, values)
    assert np.flatnonzero(np.isnan(result)).tolist() == [3, 5, 77]
    result[:] = 0
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_nothing_defined(name: str) -> None:
    assert np.isnan(apply_transform(name, np.full(3, np.nan))).all()
    assert apply_transform(name, np.array([])).shape == (0,)


def test_log1p_is_undefined_at_and_below_minus_one() -> None:
    assert np.isnan(apply_transform("log1p", np.array([-1.0, -7.0]))).all()


def test_unknown_transform_is_refused() -> None:
    with pytest.raises(RuleError, match="'sqrt' is unknown; choose one of identity, log1p"):
        apply_transform("sqrt", np.ones(2))


def test_feature_names() -> None:
    assert feature_name("nll", "identity") == "nll"
    assert feature_name("len_out", "clip+log1p") == "clip+log1p(len_out)"
