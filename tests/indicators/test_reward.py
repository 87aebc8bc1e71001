"""The readout of the reward pass."""

from __future__ import annotations

import numpy as np

from instructmining.indicators.base import indicator_for
from instructmining.indicators.reward import Reward
from instructmining.models.base import RewardOutput


def test_rew_is_the_logit_and_undefined_where_the_pass_has_none():
    values = Reward().transform([], RewardOutput(np.asarray([-3.5, np.nan, 12.25])))

    np.testing.assert_array_equal(values, [[-3.5], [np.nan], [12.25]])
    assert values.dtype == np.float64


def test_the_column_is_called_rew_and_reads_a_reward_model():
    assert indicator_for("rew") == Reward()
    assert Reward.needs.kind == "reward"
    assert [(c.name, c.symbol, c.unit) for c in Reward().columns] == [("rew", "Rew", "logit")]


def test_the_definition_is_the_indicator_and_its_pass():
    definition = Reward().definition({"model": "m", "input": "oasst"})

    assert definition == {"indicator": "rew", "version": 1, "model": "m", "input": "oasst"}
