"""Figures that pages quote stand in the results, or are constants of the code."""

from __future__ import annotations

import pytest

from docs.test_commands import ROOT
from docs.test_indicators import CODE, FIGURE
from instructmining.models.chat import MAX_TOKENS

DOCS = ROOT / "docs"
CONSTANTS = {f"{MAX_TOKENS:,}"}
PAGES = [DOCS / f"{name}.md" for name in ("index", "alpaca", "footguns", "limits")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_are_those_of_the_results(page):
    results = set(FIGURE.findall((DOCS / "results.md").read_text(encoding="utf-8")))

    figures = set(FIGURE.findall(CODE.sub("", page.read_text(encoding="utf-8"))))

    assert figures - results - CONSTANTS == set()
