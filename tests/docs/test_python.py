"""Every block of Python in the documentation runs, a page's blocks one after another."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts import test_indicators as contract
from docs.test_commands import PAGES, ROOT
from instructmining.indicators import base

#: A block, and the file it is where it has a title.
BLOCK = re.compile(r'^```python(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
OWN = ROOT / "docs" / "write_an_indicator.md"

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is forgotten after it."""
    base.registered()
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    for name in [title.removesuffix(".py") for page in PAGES for title, _ in blocks(page) if title]:
        monkeypatch.delitem(sys.modules, name, raising=False)


def run(page: Path, folder: Path) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "__main__"}
    for title, code in blocks(page):
        if title:
            (folder / title).write_text(code, encoding="utf-8")
        else:
            exec(compile(code, str(page), "exec"), space)
    return space


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, folder, registry):
    run(page, folder)


@pytest.mark.usefixtures("registry")
def test_the_indicator_written_keeps_to_the_contract(folder):
    contract.check(run(OWN, folder)["listed"].Listed())


def test_most_pages_that_teach_show_python():
    assert {p.name for p in PAGES if blocks(p)} >= {
        *("README.md", "index.md", "alpaca.md", "write_an_indicator.md", "plugins.md", "python.md"),
    }
