"""The page of a fit says what the fit found, in a browser and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructmining import api
from instructmining.report.fit_data import fit_data, save_fit_data
from instructmining.report.page.fitting import fit_page
from instructmining.report.page.html import save_page
from instructmining.rules.regression import partial_points
from report.test_browser import CHROMIUM, Opened, browser  # noqa: F401
from report.test_fits import verdict_of

pytest.importorskip("altair", reason="altair is not installed")


@pytest.fixture(scope="module")
def verdict():
    return verdict_of()


@pytest.fixture
def page(verdict, tmp_path) -> tuple[Path, dict[str, Any]]:
    path = api.write_fit_page(verdict, tmp_path / "fit.html")
    return path, json.loads(path.with_suffix(".json").read_text())


def section(data: dict[str, Any], key: str) -> dict[str, Any]:
    (found,) = [one for one in data["sections"] if one["key"] == key]
    return found


def table(data: dict[str, Any], key: str, caption: str) -> list[list[str]]:
    (found,) = [shown for title, shown in section(data, key)["tables"] if title == caption]
    return found["rows"]


def points(chart: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """The one set of `n` points a chart draws."""
    spec = chart["spec"]
    sets = [
        spec.get("datasets", {}).get(layer["data"].get("name"), layer["data"].get("values"))
        for layer in spec["layer"]
    ]
    (found,) = [one for one in sets if len(one) == n]
    return found


def test_it_says_what_the_fit_found(verdict, page):
    _, data = page
    result = verdict.result
    assert (
        data["headline"] == "mine: from 60 runs over 40 mixtures, token-weighted log loss on human."
    )
    assert data["notes"] == list(verdict.warnings)
    tiles = {tile["name"]: tile for tile in data["tiles"]}
    assert tiles["R², mixture left out"]["value"] == f"{result.loo_r2:.2f}"
    assert "length alone" in tiles["R², mixture left out"]["note"]
    numbers = table(data, "coefficients", "In numbers")
    assert [row[0] for row in numbers] == [one.name for one in result.coefficients]
    assert numbers[1][1] == f"{result.coefficients[1].estimate:+.5f}"
    scores = table(data, "unseen", "Scores")
    assert [row[0] for row in scores] == list(result.validation.scores)
    bars = table(data, "unseen", "Bars")
    assert [row[3] for row in bars] == ["yes" if bar.met else "no" for bar in verdict.bars]


def test_its_charts_hold_every_mixture(verdict, page):
    _, data = page
    n = verdict.result.n_mixtures
    (seen,) = section(data, "unseen")["charts"]
    assert {one["label"] for one in points(seen, n)} == set(verdict.result.table.names)
    partial = section(data, "partial")["charts"]
    assert [chart["title"] for chart in partial] == list(verdict.result.means.features)
    for chart, feature in zip(partial, verdict.result.coefficients[1:], strict=True):
        ends = points(chart, 2)
        slope = (ends[1]["y"] - ends[0]["y"]) / (ends[1]["x"] - ends[0]["x"])
        assert slope == pytest.approx(feature.estimate)
        x, y = partial_points(verdict.result.means, feature.name)
        assert [one["x"] for one in points(chart, n)] == pytest.approx(x)
        assert [one["y"] for one in points(chart, n)] == pytest.approx(y)


def test_it_is_made_from_what_was_saved_too(verdict, page, tmp_path):
    path, _ = page
    save_fit_data(verdict, tmp_path / "out" / "diagnostics.json")
    made = api.report(tmp_path / "out")
    assert made.read_text() == path.read_text()


def test_without_rows_or_columns_it_is_a_page(verdict):
    document = {**fit_data(verdict), "ranking": None, "sensitivity": []}
    keys = [one.key for one in fit_page(document).sections]
    assert keys == ["coefficients", "unseen", "residuals", "partial"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_drawn_without_a_word_or_a_request(verdict, browser, tmp_path, width):  # noqa: F811
    document = json.loads(json.dumps(fit_data(verdict)))
    hostile = "<script>document.title='run'</script><img src=x onerror=alert(1)>"
    document["mixtures"][0]["mixture"] = document["rule"]["name"] = hostile
    document["warnings"].append(hostile)
    page = tmp_path / "fit.html"
    save_page(fit_page(document), page)
    opened = Opened(browser, page, viewport={"width": width, "height": 900})
    assert opened.said == []
    assert [u for u in opened.asked if not u.startswith(("data:", "blob:"))] == [page.as_uri()]
    n_charts = sum(len(one.charts) for one in fit_page(document).sections)
    assert opened.page.locator(".chart svg").count() == n_charts > 5
    assert opened.page.title() != "run"
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.page.close()
