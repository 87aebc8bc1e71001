from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from instructmining.errors import InputError
from instructmining.selection.budget import Rows
from instructmining.selection.explain import explain, rule_label
from instructmining.selection.select import select_rows
from instructmining.selection.spacing import Spacing
from selection.pools import at_angles, grouped, make_frame, select_by_nll

METADATA = {"rule": "small", "status": "pilot", "mismatches": ["ppl of another model"]}


@pytest.fixture(scope="module")
def selection():
    frame = make_frame(
        [3.0, 1.0, None, 1.0, 9.0, 3.0],
        texts=[0, 1, 2, 1, 4, 0],
        flags=[[], [], ["empty_response"], [], [], []],
    )
    return select_by_nll(frame, Rows(1))


@pytest.mark.parametrize(
    ("row", "beginning"),
    [
        (1, "Kept: rank 1 of 3, "),
        (0, "Dropped: rank 2 of 3, "),
        (2, "Dropped: nll, which the selection needs, has no value for it."),
        (3, "Dropped: an exact duplicate of row 1, which came first and was kept."),
        (5, "Dropped: an exact duplicate of row 0, which came first and was dropped for its rank."),
    ],
)
def test_reason_is_a_sentence(selection, row, beginning):
    explanation = explain(selection.decisions, selection.metadata(METADATA), row)
    assert explanation.sentence.startswith(beginning)


def test_contributions_and_mean_make_the_prediction():
    rng = np.random.default_rng(3)
    frame = make_frame(rng.normal(2, 1, 50).tolist(), lengths=rng.uniform(1, 99, 50).tolist())
    parts = pl.DataFrame(
        {
            "nll": -0.01 * (frame["nll"] - frame["nll"].mean()),
            "len": 0.02 * (frame["len"] - frame["len"].mean()),
        }
    )
    predicted = 0.75 + parts.sum_horizontal().to_numpy()
    selection = select_rows(
        frame, predicted, Rows(5), contributions=parts, rule_columns=["nll", "len"]
    )
    for row in range(50):
        explanation = explain(selection.decisions, {}, row)
        assert explanation.pool_mean == pytest.approx(0.75, abs=1e-12)
        total = explanation.pool_mean + sum(c.contribution for c in explanation.contributions)
        assert total == pytest.approx(explanation.predicted, abs=1e-12)
        sizes = [abs(c.contribution) for c in explanation.contributions]
        assert sizes == sorted(sizes, reverse=True)
        values = {c.column: c.value for c in explanation.contributions}
        assert values == {"nll": frame["nll"][row], "len": frame["len"][row]}


def test_undefined_row_is_explained_without_numbers(selection):
    explanation = explain(selection.decisions, selection.metadata(METADATA), 2)
    assert explanation.predicted is None
    assert explanation.rank is None
    assert explanation.flags == ("empty_response",)
    assert [(c.column, c.contribution) for c in explanation.contributions] == [("nll", None)]


def test_without_contributions_the_mean_is_that_of_the_predictions():
    frame = make_frame([1.0, 2.0])
    selection = select_rows(
        frame, np.array([1.0, 2.0]), Rows(1), contributions=None, rule_columns=["nll"]
    )
    assert explain(selection.decisions, {}, 0).pool_mean == 1.5


def test_notes_and_pilot_status_are_in_every_explanation(selection):
    plain = explain(selection.decisions, selection.metadata(METADATA), 0).to_json()
    assert plain["rule"] == "small (pilot)"
    assert "ppl of another model" in plain["notes"]
    assert json.loads(json.dumps(plain, allow_nan=False))["row"] == 0


def test_label_says_the_status_once():
    assert rule_label({"rule": "small-pilot", "status": "pilot"}) == "small-pilot"
    assert rule_label({"rule": "longest", "status": ""}) == "longest"
    assert rule_label({}) == "unnamed"


@pytest.mark.parametrize("row", [-1, 6, 10**12])
def test_row_outside_the_pool_is_refused(selection, row):
    with pytest.raises(InputError, match="rows 0 to 5"):
        explain(selection.decisions, {}, row)


def test_reason_of_another_tool_is_passed_on(selection):
    foreign = selection.decisions.with_columns(reason=pl.lit("toxic"))
    assert explain(foreign, {}, 0).sentence == "Dropped: toxic."


@pytest.fixture(scope="module")
def shared_out():
    """Two groups of three and one of none, a copy of row 0 that is dropped, and a near row."""
    frame = make_frame(
        [1.0, 1.1, 2.0, 3.0, 4.0, 9.0, 2.0, 3.0, 1.1], texts=[0, 1, 2, 3, 4, 5, 2, 3, 1]
    )
    spacing = Spacing(0.5, at_angles(0, 5, 60, 120, 180, 240, 60, 120, 5))
    groups = grouped(["a", "b", "a", None, "b", "c", "a", None, "b"], "task=a:25%,b:50%,c:0")
    return select_by_nll(frame, Rows(2), spacing, groups)


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        (0, "selected", "Kept: rank 1 of 6, "),
        (1, "near:0", "; nearer than 0.5 to row 0, which is kept at rank 1."),
        (2, "quota", "; task a had its share of the budget before it, worse rows of other "),
        (3, "quota", "; rows without task had its share of the budget before it, worse rows "),
        (4, "selected", "Kept: rank 5 of 6, "),
        (5, "quota", "; task c has a share of 0."),
        (6, "duplicate_of:2", "came first and was dropped for its group's share."),
        (8, "duplicate_of:1", "was dropped as too near to row 0, which is kept."),
    ],
)
def test_reasons_of_quota_and_distance_are_sentences(shared_out, row, reason, words):
    explanation = explain(shared_out.decisions, shared_out.metadata(METADATA), row)
    assert explanation.reason == reason
    assert words in explanation.sentence
    assert explain(shared_out.decisions, {}, row).sentence.endswith(".")


def test_the_end_of_the_budget_is_the_worst_rank_kept():
    frame = make_frame([1.0, 2.0, 3.0, 4.0])
    selection = select_by_nll(frame, Rows(2), Spacing(0.5, at_angles(0, 1, 60, 120)))
    sentence = explain(selection.decisions, selection.metadata(METADATA), 3).sentence
    assert sentence.endswith("the budget of 2 rows ended at rank 3.")
