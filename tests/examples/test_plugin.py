"""The plugin to be copied: shown on its page as it is, small, and true to the contracts."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from contracts import test_indicators as contract
from instructmining.formats import FLAGS

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "examples" / "plugin"
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SOURCES = sorted((PLUGIN / "src" / "instructmining_forum").glob("*.py"))
STRANGE = [None, True, 3, "text", [], {}, [None], [{}], [[1]], [{"text": 3}], [{"votes": "x"}]]


@pytest.fixture
def module(monkeypatch):
    """Import a module of the plugin from its sources."""
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    yield lambda name: importlib.import_module(f"instructmining_forum.{name}")
    for name in [name for name in sys.modules if name.startswith("instructmining_forum")]:
        del sys.modules[name]


def test_its_page_shows_it_as_it_is():
    shown = dict(re.findall(r'```python title="(.+?)"\n(.*?)```\n', PAGE, re.DOTALL))
    assert set(shown) == {"forum.py", "concise.py"}
    for path in SOURCES:
        assert shown.get(path.name, path.read_text("utf-8")) == path.read_text("utf-8")
    (entries,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert (PLUGIN / "pyproject.toml").read_text("utf-8").endswith(entries)


def test_it_is_small():
    assert sum(len(path.read_text("utf-8").splitlines()) for path in SOURCES) <= 150


def test_its_indicator_keeps_to_the_contract(module, monkeypatch):
    indicator = module("fenced").Fenced()
    # As the registry does.
    monkeypatch.setattr(type(indicator), "name", "fenced", raising=False)
    contract.check(indicator)


def test_its_format_survives_any_record(module):
    shape = module("forum").Forum()
    for value in STRANGE:
        for fields in ({"answers": value}, {"question": value}, dict.fromkeys("qa", value)):
            shape.fits(fields)
            reading = shape.read(fields)
            assert set(reading.flags) <= set(FLAGS)
            assert reading.response or reading.flags
