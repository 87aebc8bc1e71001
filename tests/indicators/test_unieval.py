"""Readouts of the evaluator pass."""

from __future__ import annotations

import math

import numpy as np

from instructmining.indicators.base import indicators_for
from instructmining.indicators.unieval import DialogueEvaluation
from instructmining.models.base import EvaluatorOutput


def read(logit):
    return DialogueEvaluation().transform((), EvaluatorOutput(np.asarray(logit, dtype=np.float64)))


def test_probabilities_are_those_of_yes_against_no():
    values = read([[0.0, math.log(3), -math.log(4)]])

    np.testing.assert_allclose(
        values, [[0.0, math.log(3), -math.log(4), 0.5, 0.75, 0.2]], rtol=1e-15
    )
    names = [column.name for column in DialogueEvaluation().columns]
    assert names == ["nat", "coh", "und", "nat_p", "coh_p", "und_p"]


def test_undefined_answers_stay_undefined_and_alone():
    assert np.isnan(read([[1.0, np.nan, 2.0]])).tolist() == [[False, True, False] * 2]


def test_certain_answers_neither_overflow_nor_merge_in_the_logits():
    values = read([[900.0, -900.0, 40.0], [901.0, -901.0, 41.0]])

    assert values[:, 3:].tolist() == [[1.0, 0.0, 1.0]] * 2
    assert (values[0, :3] != values[1, :3]).all()


def test_no_rows_give_no_rows():
    assert read(np.empty((0, 3))).shape == (0, 6)


def test_all_columns_come_from_one_reading_of_the_pass():
    (indicator,) = indicators_for(["und_p", "nat_p", "coh_p", "nat"])

    assert indicator == DialogueEvaluation()
    assert indicator.needs.kind == "evaluator"
    # What the published rule demands of a column's definition.
    definition = indicator.definition({"model": "MingZhong/unieval-dialog"})
    assert (
        definition.items() >= {"indicator": "unieval", "model": "MingZhong/unieval-dialog"}.items()
    )
