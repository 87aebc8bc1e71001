"""Indicators of other packages: found by their entry points, refused by name."""

import sys

import pytest

from instructmining.errors import InputError
from instructmining.indicators.base import indicator_for
from instructmining.plugins import plugins

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


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with one indicator on the path."""

    def put(name="marks", source=None, column="marks"):
        (tmp_path / "marksplugin.py").write_text(source or SOURCE.format(column=column))
        info = tmp_path / "marks_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: marks-plugin\nVersion: 1.0\n")
        entry = f"[instructmining.indicators]\n{name} = marksplugin:Marks\n"
        (info / "entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(str(tmp_path))
        plugins.cache_clear()

    yield put
    plugins.cache_clear()
    sys.modules.pop("marksplugin", None)


def test_an_indicator_of_a_plugin_is_found_by_its_column(install):
    install()
    assert indicator_for("marks").name == "marks"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "len"}, "has the name of another indicator"),
        ({"column": "nll"}, "fills a column that another fills, nll"),
        ({"source": "import nowhere_to_be_found"}, "cannot be imported: No module named"),
        ({"source": "Marks = 3"}, "is not a class that derives Indicator"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named_with_its_distribution(install, given, said):
    install(**given)
    with pytest.raises(InputError, match=said) as caught:
        indicator_for("nll")
    assert "of marks-plugin" in str(caught.value)
    assert "\n" not in str(caught.value)
