"""Readouts of the causal pass."""

from __future__ import annotations

import math

import numpy as np
import pytest

from instructmining.examples import Example
from instructmining.indicators.likelihood import InstructionFollowingDifficulty, Likelihood
from instructmining.models.base import CausalOutput

EXAMPLES = [Example(row, (), "x") for row in range(3)]


def test_perplexity_is_the_exponential_of_the_likelihood():
    output = CausalOutput(np.asarray([0.0, math.log(8), np.nan]))

    values = Likelihood().transform(EXAMPLES, output)

    np.testing.assert_allclose(values[:2], [[0.0, 1.0], [math.log(8), 8.0]])
    assert np.isnan(values[2]).all()
    assert [column.name for column in Likelihood().columns] == ["nll", "ppl"]


def test_ifd_is_a_ratio_of_mean_losses():
    output = CausalOutput(np.asarray([1.0, 3.0, np.nan]), np.asarray([2.0, 2.0, 2.0]))

    values = InstructionFollowingDifficulty().transform(EXAMPLES, output)

    assert values[:2].tolist() == [[0.5], [1.5]]
    assert np.isnan(values[2, 0])


def test_ifd_of_a_response_certain_without_its_prompt_is_undefined():
    output = CausalOutput(np.asarray([0.0, 1.0, 1.0]), np.asarray([0.0, 0.0, np.nan]))

    values = InstructionFollowingDifficulty().transform(EXAMPLES, output)

    assert np.isnan(values[:, 0]).tolist() == [True, True, True]


def test_ifd_asks_for_the_unconditional_half_and_refuses_to_do_without():
    assert InstructionFollowingDifficulty.needs.options == {"alone"}
    with pytest.raises(ValueError, match="unconditional half"):
        InstructionFollowingDifficulty().transform(EXAMPLES, CausalOutput(np.ones(3)))
