"""The pages in a real browser: drawn, usable, quiet, and harmless whatever the rows hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from report.test_page import page_of, selected  # noqa: F401

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"),
    *("--no-first-run", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(selected, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    import numpy as np

    from instructmining.report.page.html import save_page
    from instructmining.report.page.selection import MapPoints

    n = selected.decisions.height
    points = MapPoints(np.arange(n), np.random.default_rng(0).normal(size=(n, 2)), 0.3)
    path = tmp_path_factory.mktemp("page") / "page.html"
    save_page(page_of(selected, points), path)
    return path


class Opened:
    """A page, with everything it said and asked for."""

    def __init__(self, browser: Any, file: Path, **view: Any) -> None:
        self.page = browser.new_page(**view)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-drawn]")


@pytest.fixture
def opened(browser, file) -> Iterator[Opened]:
    found = Opened(browser, file, viewport={"width": 1280, "height": 900})
    yield found
    found.page.close()


def cells(page: Any, column: int) -> list[str]:
    return page.locator(f"#table tbody tr td:nth-child({column})").all_inner_texts()


def test_it_is_drawn_without_a_word_or_a_request(opened, file):
    page = opened.page
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [
        file.as_uri()
    ]
    # Ranking, two indicators and the map, each with marks in it.
    assert page.locator(".chart svg").count() == 4
    assert page.locator("#chart-map-0 svg .mark-symbol path").count() > 200
    assert page.locator(".picture[role=img][aria-label]").count() == 4


def test_what_rows_hold_is_shown_and_never_run(opened):
    page = opened.page
    assert page.evaluate("window.hurt") is None
    page.fill("#search", "window.hurt = 2")
    assert "</script><script>window.hurt = 2</script>" in cells(page, 6)[0]
    page.locator("#table tbody button").first.click()
    assert page.evaluate("window.hurt") is None
    assert page.locator("#table img, #table script, main img").count() == 0


def test_rows_are_filtered_sorted_searched_and_explained(opened, selected):  # noqa: F811
    page = opened.page
    assert page.inner_text("#count") == "300 of 300 rows"
    assert len(cells(page, 1)) == 50
    page.select_option("#which", "kept")
    assert page.inner_text("#count") == "60 of 300 rows"
    assert {*cells(page, 3)} == {"kept"}
    page.select_option("#which", "")
    page.click("#table th[data-column=row] button")
    assert cells(page, 1)[:3] == ["0", "1", "2"]
    page.click("#table th[data-column=row] button")
    assert cells(page, 1)[0] == "299"
    assert page.get_attribute("#table th[data-column=row]", "aria-sort") == "descending"
    # Rows without a value stand last either way.
    page.click("#table th[data-column=rank] button")
    page.click("#after")
    assert page.inner_text("#page") == "page 2 of 6"
    for _ in range(4):
        page.click("#after")
    assert page.is_disabled("#after")
    assert cells(page, 2)[-1] == "–"
    page.click("#table th[data-column=rank] button")
    for _ in range(5):
        page.click("#before") if page.is_enabled("#before") else None
    best = selected.decisions.filter(~pl_is_null(selected, "rank"))
    assert cells(page, 2)[0] == f"{best['rank'].max():,}"
    page.fill("#search", "no such words anywhere")
    assert page.inner_text("#count") == "0 of 300 rows"


def pl_is_null(chosen, name):
    return chosen.decisions[name].is_null()


def test_a_row_is_explained_exactly(opened, selected):  # noqa: F811
    page = opened.page
    page.locator("#table tbody button").first.click()
    row = int(cells(page, 1)[0].replace(",", ""))
    parts = page.locator(".parts tr").all_inner_texts()
    one = selected.decisions.row(row, named=True)
    assert parts[0].split("\t") == ["column", "value", "adds"]
    assert f"{one['contribution:len_out']:+.4f}" in parts[2]
    assert parts[-1].split("\t")[-1] == f"{one['predicted']:.4f}"
    assert page.locator("#table tbody button").first.get_attribute("aria-expanded") == "true"


def test_it_is_used_by_keyboard_alone(opened):
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#table th[data-column=predicted] button")
    page.keyboard.press("Enter")
    assert page.get_attribute("#table th[data-column=predicted]", "aria-sort") == "ascending"
    page.locator("#table tbody button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".parts").count() == 1
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (820, "dark"), (1280, "dark")])
def test_no_width_is_too_small_and_dark_is_dark(browser, file, width, scheme):
    view = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    found = Opened(browser, file, **view)
    assert found.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, paper.strip("rgb()").split(","))) > 380
    assert light is (scheme == "light")
    assert found.said == []
    found.page.close()


def test_colours_follow_a_change_of_scheme(opened):
    page = opened.page
    label = "#chart-ranking-0 svg .role-axis-label text"
    before = page.locator(label).first.get_attribute("fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "([label, before]) => document.querySelector(label)?.getAttribute('fill') !== before",
        arg=[label, before],
    )
    assert opened.said == []


def test_printed_it_is_light_and_whole(opened):
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.is_visible("nav")
    assert page.is_visible("#reasons")
    assert len(page.pdf()) > 20_000
