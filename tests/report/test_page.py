from __future__ import annotations

import json
import re
import sys

import numpy as np
import polars as pl
import pytest

from instructmining import api
from instructmining.errors import InputError
from instructmining.journal import is_intact
from instructmining.report.page import html
from instructmining.report.page.selection import (
    TABLE_ROWS,
    MapPoints,
    selection_page,
    table_rows,
)
from instructmining.scoring.table import ScoreTable
from report.hostile import HOSTILE, write_hostile_pool


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> api.Selected:
    folder = tmp_path_factory.mktemp("pool")
    pool = write_hostile_pool(folder / "pool.jsonl", 300)
    return api.select(pool, "longest", keep=60, scores=_scored(pool), allow_mismatch=True)


def _scored(pool: str) -> ScoreTable:
    """Lengths in bytes: no model is asked."""
    examples = api.load_examples(pool)
    lengths = [float(len(e.response.encode("utf-8", "replace"))) for e in examples]
    frame = pl.DataFrame(
        {
            "row": list(range(len(examples))),
            "example": [e.digest for e in examples],
            "len_out": [length or None for length in lengths],
            "mtld": [length * 7 % 31 for length in lengths],
            "flags": [list(e.flags) for e in examples],
        },
        schema_overrides={"flags": pl.List(pl.String)},
    )
    return ScoreTable(frame, {name: {"indicator": name} for name in ("len_out", "mtld")})


def page_of(selected: api.Selected, points: MapPoints | None = None):
    rows = table_rows(selected.decisions)
    texts = {
        row: (e.prompt, e.response) for row, e in zip(rows, selected.pool.read(rows), strict=True)
    }
    return selection_page(
        selected.summary, selected.scores.frame, selected.decisions, texts, points
    )


def test_a_page_says_what_the_selection_says(selected):
    page = page_of(selected)
    assert page.headline == selected.summary.headline
    tiles = {tile.name: tile.value for tile in page.tiles}
    assert tiles["rows kept"] == "60"
    assert tiles["as the longest"] == "100%"
    rows = page.data["rows"]
    assert rows["row"] == list(range(selected.decisions.height))
    assert sum(rows["kept"]) == 60
    ranks = page.data["ranks"]
    assert ranks["rank"][0] == 1
    assert ranks["predicted"] == sorted(ranks["predicted"])


def test_parts_add_up_to_the_prediction(selected):
    rows = page_of(selected).data["rows"]
    ranked = [i for i, value in enumerate(rows["predicted"]) if value is not None]
    means = {
        round(rows["predicted"][i] - sum(added for _, added in rows["parts"][i]), 2) for i in ranked
    }
    assert len(means) == 1


def test_histograms_are_shares_of_rows(selected):
    page = page_of(selected)
    (section,) = [one for one in page.sections if one.key == "indicators"]
    assert [chart.title for chart in section.charts] == ["len_out*", "mtld"]
    spec = section.charts[0].spec
    values = spec["datasets"][spec["data"]["name"]]
    for kind in ("pool", "selection"):
        assert sum(one["share"] for one in values if one["set"] == kind) == pytest.approx(1)


def test_a_large_pool_is_sampled_with_both_ends_and_the_cut():
    n, kept = 12_000, 1_200
    decisions = pl.DataFrame(
        {
            "row": range(n),
            "kept": [row < kept for row in range(n)],
            "rank": range(1, n + 1),
            "predicted": np.linspace(0, 1, n),
            "flags": [["cut"] if row % 100 == 0 else [] for row in range(n)],
        },
        schema_overrides={"flags": pl.List(pl.String)},
    )
    rows = table_rows(decisions)
    assert len(rows) == len({*rows}) == TABLE_ROWS
    assert {*range(50), *range(n - 50, n), *range(kept - 50, kept + 50)} <= {*rows}
    assert sum(row < kept for row in rows) >= TABLE_ROWS // 3
    assert rows == table_rows(decisions)


def test_the_map_holds_every_row_that_has_a_place(selected):
    n = selected.decisions.height
    place = np.random.default_rng(0).normal(size=(n - 5, 2))
    page = page_of(selected, MapPoints(np.arange(5, n), place, 0.31))
    assert page.data["map"]["row"] == list(range(5, n))
    assert page.data["map"]["kept"].count("kept") == selected.decisions["kept"][5:].sum()
    (section,) = [one for one in page.sections if one.key == "map"]
    assert "31%" in section.words


def test_nothing_of_the_data_becomes_markup(selected):
    text = html.render_page(page_of(selected))
    # The page's own elements, and no other.
    assert len(re.findall(r"<script", text.replace("<\\/script", ""))) == 4
    body = text.split("</style>")[1].split('<script type="application/json"')[0]
    for hostile in HOSTILE:
        assert hostile not in body or "<" not in hostile
    assert "<img src=x" not in text
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data
    shown = json.loads(data)["rows"]["response"]
    assert any("<script>window.hurt" in one for one in shown)


def test_the_page_and_its_data_are_written(selected, tmp_path):
    data = selected.write_report(tmp_path / "page.html", with_map=False)
    document = json.loads(data.read_text())
    assert is_intact(document)
    assert document["kind"] == "select"
    assert document["headline"] == selected.summary.headline
    size = (tmp_path / "page.html").stat().st_size
    assert 800_000 < size < 3_000_000
    with pytest.raises(InputError, match=r"ends in \.html"):
        selected.write_report(tmp_path / "page.json", with_map=False)


def test_without_the_charting_library_it_is_said_in_one_line(selected, tmp_path, monkeypatch):
    html._library.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(InputError, match=r"pip install 'instructmining\[report\]'"):
        selected.write_report(tmp_path / "page.html", with_map=False)
    assert not list(tmp_path.iterdir())
    html._library.cache_clear()
