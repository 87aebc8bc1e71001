"""The registry: files of the folder, columns to indicators, names taken once."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

import instructmining.indicators as package
from instructmining.errors import InputError
from instructmining.indicators import base
from instructmining.indicators.base import (
    Indicator,
    by_column,
    indicator_for,
    indicators_for,
    register,
    registered,
)
from instructmining.indicators.heads import SmallHead
from instructmining.indicators.knn import NeighbourDistance
from instructmining.indicators.lengths import Length
from instructmining.indicators.likelihood import Likelihood
from instructmining.indicators.mtld import LexicalDiversity
from instructmining.indicators.reward import Reward
from instructmining.indicators.unieval import DialogueEvaluation

NEW = '''
    from dataclasses import dataclass

    import numpy as np

    from instructmining.indicators.base import Column, Indicator, register


    @register("vowels")
    @dataclass(frozen=True)
    class Vowels(Indicator):
        """Vowels of the response."""

        @property
        def columns(self):
            return (Column("vowels", "V", "1"),)

        def transform(self, examples, output):
            counts = [sum(letter in "aeiou" for letter in e.response) for e in examples]
            return np.asarray(counts, dtype=np.float64)[:, None]
'''


def test_known_indicators_are_found():
    assert {"len", "nll", "ifd", "mtld", "knn"} <= set(registered())


def test_a_new_indicator_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "vowels.py").write_text(dedent(NEW))
    monkeypatch.setattr(base, "_REGISTRY", dict(registered()))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        assert indicator_for("vowels").name == "vowels"
        assert "vowels" in by_column()
    finally:
        sys.modules.pop("instructmining.indicators.vowels", None)
        vars(package).pop("vowels", None)


def test_a_name_is_given_once():
    registered()

    class Impostor(Indicator):
        pass

    with pytest.raises(ValueError, match="two indicators are called 'mtld'"):
        register("mtld")(Impostor)
    assert registered()["mtld"] is LexicalDiversity


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ("len_in", Length()),
        ("len", Length()),
        ("ppl", Likelihood()),
        ("mtld", LexicalDiversity()),
        ("knn_6", NeighbourDistance(6)),
        ("knn_10", NeighbourDistance(10)),
    ],
)
def test_columns_find_their_indicator(column, wanted):
    assert indicator_for(column) == wanted


@pytest.mark.parametrize(
    ("column", "near"), [("mltd", "mtld"), ("len_on", "len_in"), ("knn_0", "knn_6")]
)
def test_an_unknown_column_is_refused_with_the_nearest_known(column, near):
    with pytest.raises(InputError) as caught:
        indicator_for(column)

    message = str(caught.value)
    assert f"{column!r}; did you mean {near!r}?" in message
    assert "\n" not in message
    assert all(name in message for name in by_column())


def test_a_column_like_no_other_is_refused_with_the_list():
    with pytest.raises(InputError, match=r"'zzzzzz'; choose one of these\. Known: .*mtld"):
        indicator_for("zzzzzz")


def test_indicators_of_several_columns_come_once_in_order_of_mention():
    found = indicators_for(["mtld", "len_out", "knn_3", "len_in", "mtld", "knn_6"])

    assert found == [
        LexicalDiversity(),
        Length(),
        NeighbourDistance(3),
        NeighbourDistance(6),
    ]


def test_a_head_stands_in_where_no_model_was_named():
    assert isinstance(indicator_for("rew"), Reward)
    assert indicator_for("rew", without=["reward", "evaluator"]) == SmallHead("rew")
    assert indicator_for("nll", without=["reward", "evaluator"]) == Likelihood()
    assert isinstance(indicator_for("rew", without=["evaluator"]), Reward)


def test_a_column_no_head_fills_keeps_its_model():
    assert isinstance(indicator_for("nat_p", without=["reward", "evaluator"]), DialogueEvaluation)
