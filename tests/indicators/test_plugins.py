"""Indicators of other packages: found by their entry points, passed over where broken."""

from __future__ import annotations

import warnings

import pytest

from instructmining.errors import InputError
from instructmining.indicators.base import by_column, indicator_for, registered
from instructmining.indicators.knn import NeighbourDistance
from instructmining.indicators.likelihood import Likelihood
from instructmining.plugins import PassedOver

SOURCE = """
from dataclasses import dataclass
import numpy as np
from instructmining.indicators.base import Column, Indicator

@dataclass(frozen=True)
class Marks(Indicator):
    @property
    def columns(self):
        return (Column({column!r}, "q", "marks"),)

    def transform(self, examples, output):
        return np.array([[float(one.response.count("?"))] for one in examples])
"""
MARKS = SOURCE.format(column="marks")
CHOKES = "    @classmethod\n    def parse(cls, column):\n        return cls(int(column))\n"
RUNS = "with open({path!r}, 'a') as runs:\n    runs.write('x')\nraise ValueError('no')"
FAULTS = [
    ("marks", "import nowhere_to_be_found", "cannot be imported: No module named"),
    ("marks", "raise SystemExit(3)", r"cannot be imported: it ends the program \(3\)"),
    ("marks", "Marks = 3", "is not a class that derives Indicator"),
    ("marks", MARKS.replace("Column(", "Colum("), "does not name its columns: name 'Colum'"),
    ("len", MARKS, "has the name of another indicator"),
    ("marks", SOURCE.format(column="nll"), "fills a column that another fills, nll"),
    ("marks", SOURCE.format(column="knn_11"), "fills a column that another fills, knn_11"),
]


@pytest.fixture
def put(distribution):
    def put(name, source, package="marks-plugin"):
        distribution(package, source, {f"indicators/{name}": "Marks"})

    return put


def test_an_indicator_of_a_plugin_is_found_by_its_column(put):
    put("marks", MARKS)
    assert indicator_for("marks").name == "marks"
    assert list(registered())[-1] == "marks"


@pytest.mark.parametrize(("name", "source", "why"), FAULTS)
def test_who_does_not_ask_for_a_plugin_goes_on_without_it(put, name, source, why):
    put(name, source)
    put("stars", SOURCE.format(column="stars"), "healthy-plugin")
    with pytest.warns(PassedOver, match=why) as said:
        assert indicator_for("nll") == Likelihood()
        assert indicator_for("knn_11") == NeighbourDistance(11)
        assert indicator_for("stars").name == "stars"
        assert registered()["len"].__module__ == "instructmining.indicators.lengths"
        assert "marks" not in by_column()

    (warning,) = said
    assert str(warning.message).startswith(f"passed over: plugin {name!r} of marks-plugin ")
    assert "\n" not in str(warning.message)


@pytest.mark.parametrize(("name", "source", "why"), FAULTS)
def test_who_asks_for_its_column_is_told_why_it_is_missing(put, name, source, why):
    put(name, source)
    with (
        pytest.warns(PassedOver),
        pytest.raises(
            InputError, match=rf"column 'marks'; .*; passed over: plugin .*{why}"
        ) as told,
    ):
        indicator_for("marks")
    assert str(told.value).endswith("; mend or uninstall marks-plugin")
    assert "\n" not in str(told.value)


def test_of_two_plugins_the_first_by_name_wins(put):
    put("beta", MARKS, "one-plugin")
    put("alpha", MARKS, "other-plugin")
    with pytest.warns(PassedOver, match="'beta' of one-plugin fills a column that another fills"):
        assert indicator_for("marks").name == "alpha"


def test_a_plugin_that_chokes_on_names_of_columns_harms_nobody(put):
    put("marks", MARKS + CHOKES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert indicator_for("knn_11") == NeighbourDistance(11)
        with pytest.raises(InputError, match="no indicator fills a column 'zzz'"):
            indicator_for("zzz")
        assert indicator_for("marks").name == "marks"


def test_a_module_that_fails_is_run_once(put, tmp_path):
    runs = tmp_path / "runs"
    put("marks", RUNS.format(path=str(runs)))
    with pytest.warns(PassedOver):
        for _ in range(3):
            indicator_for("nll")
    assert runs.read_text() == "x"
