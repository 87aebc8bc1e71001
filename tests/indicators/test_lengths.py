"""Lengths are the counts of the token pass, side by side."""

from __future__ import annotations

import numpy as np

from instructmining.examples import Example
from instructmining.indicators.lengths import Length
from instructmining.models.base import TokenOutput


def test_prompt_response_and_both():
    output = TokenOutput(np.asarray([3, 0, 7]), np.asarray([2, 5, 0]))

    values = Length().transform([Example(row, (), "x") for row in range(3)], output)

    assert values.tolist() == [[3.0, 2.0, 5.0], [0.0, 5.0, 5.0], [7.0, 0.0, 7.0]]
    assert [column.name for column in Length().columns] == ["len_in", "len_out", "len"]
