"""Pages of a comparison and of a search, from their artefacts, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.test_comparing import compared, contest_of, files, materials, run  # noqa: F401
from experiments.test_searching import SizedTuner, carried_out, pool, search_of  # noqa: F401
from instructmining import api
from instructmining.errors import InputError
from report.test_browser import CHROMIUM, Opened, browser  # noqa: F401


@pytest.fixture
def comparison(materials, tmp_path: Path) -> Path:  # noqa: F811
    contest, scores = contest_of(materials)
    found = compared(contest, run(contest, tmp_path / "runs.jsonl", scores))
    found.save(tmp_path / "comparison.json")
    return tmp_path / "comparison.json"


@pytest.fixture
def search(pool, tmp_path: Path) -> Path:  # noqa: F811
    found = carried_out(search_of(pool), tmp_path / "runs.jsonl")
    found.save(tmp_path / "search.json")
    return tmp_path / "search.json"


def data_of(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.with_suffix(".json").read_text())
    return found


def test_the_page_of_a_comparison_says_what_it_says(comparison):
    document = json.loads(comparison.read_text())
    page = api.report(comparison.parent)
    assert page == comparison.parent / "comparison.page.html"
    data = data_of(page)
    assert data["headline"].lower().rstrip(".") == document["verdict"].lower().rstrip(".")
    assert data["notes"] == document["notes"]
    (differences,) = [one for one in data["sections"] if one["key"] == "differences"]
    rows = differences["tables"][0][1]["rows"]
    contrasts = document["comparison"]["contrasts"]
    assert [row[-1] for row in rows] == [one["conclusion"] for one in contrasts]
    assert rows[0][2] == f"{100 * contrasts[0]['by_token']['relative']:+.2f} %"


def test_the_page_of_a_search_says_what_it_says(search, tmp_path):
    document = json.loads(search.read_text())
    page = api.report(search, tmp_path / "size.html")
    data = data_of(page)
    tiles = {tile["name"]: tile["value"] for tile in data["tiles"]}
    assert tiles["best"] == f"{document['best']:,}"
    assert tiles["enough"] == f"{document['frugal']:,}"
    assert [one["key"] for one in data["sections"]] == ["fit", "report", "differences", "tried"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("kind", ["comparison", "search"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_drawn_without_a_word_or_a_request(request, browser, kind, width):  # noqa: F811
    artefact = request.getfixturevalue(kind)
    page = api.report(artefact)
    opened = Opened(browser, page, viewport={"width": width, "height": 900})
    assert opened.said == []
    assert [u for u in opened.asked if not u.startswith(("data:", "blob:"))] == [page.as_uri()]
    n_charts = {"comparison": 1, "search": 3}[kind]
    assert opened.page.locator(".chart svg").count() == n_charts
    marks = opened.page.locator(".chart svg .mark-symbol path").count()
    document = json.loads(artefact.read_text())
    assert marks >= len(document["comparison"]["contrasts"])
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.page.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "is not JSON"),
        ("[]", "JSON, but no artefact"),
        ('{"schema": 1}', "of neither a comparison nor a search nor a fit"),
    ],
)
def test_what_is_no_artefact_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=said):
        api.report(tmp_path / "x.json")
    with pytest.raises(InputError, match="holds 0 finished comparisons"):
        api.report(tmp_path)


def test_a_changed_artefact_is_refused(comparison):
    comparison.write_text(comparison.read_text().replace('"rows": 6', '"rows": 7', 1))
    with pytest.raises(InputError, match="was changed after it was written"):
        api.report(comparison)
