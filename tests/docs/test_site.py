"""The site is built without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.test_commands import ROOT

#: Elements and the attributes by which they load something.
LOADS = {"script": ("src",), "link": ("href",), "img": ("src", "srcset"), "iframe": ("src",)}
#: Beginnings of what is loaded from elsewhere.
ELSEWHERE = ("http:", "https:", "//")


class Loaded(HTMLParser):
    """What a page loads from elsewhere, each as (element, address)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elsewhere: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = [value or "" for name, value in attrs if name in LOADS.get(tag, ())]
        self.elsewhere += [(tag, one) for one in found if one.strip().startswith(ELSEWHERE)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason=f"{name} is not installed; pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # Material tells of its successor on every build, which is no warning of ours.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def test_every_page_is_built(site):
    wanted = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert wanted <= {path.stem for path in site.glob("*.html")}


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > 12
    assert {str(p): f for p in pages if (f := Loaded(p.read_text("utf-8")).elsewhere)} == {}


def test_styles_load_nothing_from_elsewhere(site):
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "@import" not in text, sheet
        assert not any(f"url({quote}{start}" in text for quote in ("", '"', "'")
                       for start in ELSEWHERE), sheet  # fmt: skip


def test_the_reference_says_what_the_docstrings_say(site):
    text = (site / "python.html").read_text(encoding="utf-8")
    for name in ("score", "select", "compare", "Rule", "DefinitionMismatch"):
        assert f'id="instructmining.{where(name)}.{name}"' in text, name


def where(name: str) -> str:
    return {"Rule": "rules.rule", "DefinitionMismatch": "errors"}.get(name, "api")


def test_what_is_loaded_would_be_found():
    assert Loaded('<img src="https://x/y.png"><a href="https://x">').elsewhere == [
        ("img", "https://x/y.png")
    ]
    assert Loaded("<script src=//x/y.js></script>").elsewhere == [("script", "//x/y.js")]
