"""The page of a selection: what was asked, what came out, and every way to doubt it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from instructmining.report.page.base import Chart, Page, Section, Table, Tile, columns_of
from instructmining.report.page.charts import histogram_chart, map_chart, ranks_chart
from instructmining.report.select import number
from instructmining.report.summary import IndicatorSummary, SelectSummary, one_line
from instructmining.selection.candidates import CONTRIBUTION, VALUE

#: Rows of the table, all of the pool if it has no more.
TABLE_ROWS = 2_000
#: Rows that are always in it: at either end of the ranking, and on either side of the cut.
_EDGE = 50
_DECILES = 10
#: Predictions below this are shown with four decimals.
_SMALL = 10.0
#: Points of the curve of predictions.
_CURVE = 600
_BINS = 40
#: Characters of a prompt and of a response in the table.
_PROMPT, _RESPONSE = 300, 500
#: Places of the map, along either side.
_GRID = 2_000
#: A column whose largest value is so many times its median is shown on a logarithmic scale.
_SKEWED = 10.0
#: Points of a map from which they are drawn smaller.
_CROWD = 5_000


@dataclass(frozen=True)
class MapPoints:
    """Where rows stand in a plane.

    Parameters
    ----------
    row : ndarray of int64, shape (m,)
        Row of the pool.
    place : ndarray of float, shape (m, 2)
        Its place.
    explained : float
        Share of the variance of the embeddings that the plane holds.
    """

    row: np.ndarray
    place: np.ndarray
    explained: float


def table_rows(decisions: pl.DataFrame) -> list[int]:
    """Say which rows the page shows one by one, and needs the texts of, in input order."""
    if decisions.height <= TABLE_ROWS:
        return [int(row) for row in decisions["row"]]
    ranked = decisions.filter(pl.col("rank").is_not_null()).sort("rank")
    rows = ranked["row"].to_list()
    cut = int(ranked["kept"].sum())
    wanted = dict.fromkeys(
        [*rows[:_EDGE], *rows[-_EDGE:], *rows[max(cut - _EDGE, 0) : cut + _EDGE]]
    )
    wanted |= dict.fromkeys(_of_deciles(ranked))
    flagged = decisions.filter(pl.col("flags").list.len() > 0)["row"].to_list()
    wanted |= dict.fromkeys(_drawn(flagged, TABLE_ROWS // 10))
    kept = decisions.filter("kept")["row"].to_list()
    wanted |= dict.fromkeys(_drawn(kept, TABLE_ROWS // 3))
    for row in _drawn(decisions["row"].to_list(), decisions.height):
        if len(wanted) >= TABLE_ROWS:
            break
        wanted[row] = None
    return sorted(int(row) for row in wanted)


def selection_page(
    summary: SelectSummary,
    scores: pl.DataFrame,
    decisions: pl.DataFrame,
    texts: Mapping[int, tuple[str, str]],
    points: MapPoints | None = None,
) -> Page:
    """Put together what a selection's page shows.

    Parameters
    ----------
    summary : SelectSummary
        The selection in figures.
    scores : polars.DataFrame
        The frame of its score table.
    decisions : polars.DataFrame
        Every row, kept or dropped.
    texts : mapping of int to (str, str)
        Prompt and response of the rows `table_rows` names.
    points : MapPoints, optional
        The map, where the pool was embedded.
    """
    ranked = decisions.filter(pl.col("rank").is_not_null()).sort("rank")
    data: dict[str, Any] = {"ranks": _curve(ranked), "rows": _rows(decisions, texts)}
    sections = [
        _of_ranks(summary, ranked, texts),
        _of_indicators(summary, scores, decisions),
        *_of_map(data, points, decisions),
        _of_reasons(summary),
        Section("rows", "Rows", _words_of_rows(decisions.height, len(texts))),
    ]
    return Page(
        "select",
        f"{summary.n_kept:,} rows of {summary.pool}",
        summary.headline,
        summary.notes,
        _tiles(summary, ranked),
        tuple(sections),
        data,
        {"pool": summary.pool, "rule": summary.rule_label, "budget": dict(summary.budget)},
    )


def _tiles(summary: SelectSummary, ranked: pl.DataFrame) -> tuple[Tile, ...]:
    kept, rest = ranked.filter("kept")["predicted"], ranked.filter(~pl.col("kept"))["predicted"]
    share = f"{summary.n_kept / summary.n_pool:.1%} of {summary.n_pool:,}" if summary.n_pool else ""
    gap = "–"
    if len(kept) and len(rest):
        gap = _signed(float(kept.mean()) - float(rest.mean()))  # type: ignore[arg-type]
    longest = summary.longest
    shared = "–" if longest is None else f"{longest.share:.0%}"
    return (
        Tile("rows kept", f"{summary.n_kept:,}", share),
        Tile(f"predicted {summary.quantity}", gap, "kept against dropped, mean"),
        Tile("as the longest", shared, "of them keeping the longest responses would keep too"),
        Tile("not ranked", f"{summary.n_pool - ranked.height:,}", "no score, a copy, an overlap"),
    )


def _of_ranks(
    summary: SelectSummary, ranked: pl.DataFrame, texts: Mapping[int, tuple[str, str]]
) -> Section:
    kept = ranked.filter("kept")
    cut = int(kept["rank"].max()) if kept.height else None  # type: ignore[arg-type]
    words = f"{ranked.height:,} rows are ranked by predicted {summary.quantity}, lower is better."
    if ranked.height:
        low, high = ranked["predicted"][0], ranked["predicted"][-1]
        words += f" It runs from {_predicted(low)} to {_predicted(high)}"
        words += f"; the last row kept has rank {cut:,}." if cut else "; none is kept."
    chart = Chart(
        f"Predicted {summary.quantity} by rank", words, ranks_chart("ranks", cut, summary.quantity)
    )
    deciles = [ranked.row(i, named=True) for i in _decile_places(ranked.height)]
    near = ranked.slice(max((cut or 0) - 5, 0), 10).iter_rows(named=True)
    return Section(
        "ranking",
        "Ranking",
        words,
        (chart,),
        (
            ("One row at every tenth of the ranking", _previews(deciles, texts)),
            ("Nearest on both sides of the cut", _previews(list(near), texts)),
        ),
    )


def _of_indicators(
    summary: SelectSummary, scores: pl.DataFrame, decisions: pl.DataFrame
) -> Section:
    charts = []
    for one in summary.indicators:
        made = _histogram(one, scores[one.column], decisions["kept"])
        if made is not None:
            charts.append(made)
    return Section(
        "indicators",
        "Indicators",
        "Each indicator over the pool and over the rows kept; * marks those the rule reads.",
        tuple(charts),
    )


def _histogram(one: IndicatorSummary, values: pl.Series, kept: pl.Series) -> Chart | None:
    numbers = values.cast(pl.Float64).to_numpy()
    known = np.isfinite(numbers)
    if not known.any() or one.pool.minimum is None or one.pool.minimum == one.pool.maximum:
        return None
    low, high = float(numbers[known].min()), float(numbers[known].max())
    middle = float(np.median(np.abs(numbers[known])))
    logarithmic = low >= 0 and high > _SKEWED * max(middle, 1e-9)
    if logarithmic:
        edges = np.expm1(np.linspace(np.log1p(low), np.log1p(high), _BINS + 1))
    else:
        edges = np.linspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high
    chosen = kept.to_numpy()
    shares = {
        name: (
            np.histogram(numbers[known & of], edges)[0] / max(int((known & of).sum()), 1)
        ).tolist()
        for name, of in (("pool", np.ones_like(chosen)), ("selection", chosen))
    }
    words = (
        f"Median {number(one.pool.median)} in the pool, {number(one.selection.median)} in the "
        f"selection; {one.pool.n_null:,} rows have no value."
    )
    cells = [
        (name, *(number(v) for v in (of.minimum, of.q25, of.median, of.q75, of.maximum)))
        for name, of in (("pool", one.pool), ("selection", one.selection))
    ]
    title = one.column + ("*" if one.in_rule else "")
    return Chart(
        title,
        words,
        histogram_chart(one.column, edges.tolist(), shares, logarithmic),
        Table(
            ("rows", "least", "a quarter", "median", "three quarters", "most"),
            tuple(cells),
            (1, 2, 3, 4, 5),
        ),
        wide=False,
    )


def _of_map(
    data: dict[str, Any], points: MapPoints | None, decisions: pl.DataFrame
) -> Iterable[Section]:
    if points is None or len(points.row) < 3:
        return
    spread = points.place - points.place.min(axis=0)
    scaled = np.round(spread / max(float(spread.max()), 1e-12) * _GRID).astype(int)
    kept = decisions["kept"].to_numpy()[points.row]
    data["map"] = {
        "x": scaled[:, 0].tolist(),
        "y": scaled[:, 1].tolist(),
        "row": points.row.tolist(),
        "kept": ["kept" if one else "dropped" for one in kept],
    }
    words = (
        f"{len(points.row):,} rows by the sentence encoder, drawn by their first two principal "
        f"components, which hold {points.explained:.0%} of the variance: rows that are near may "
        "still differ, rows that are far do."
    )
    chart = Chart(
        "Map of the pool", words, map_chart("map", 40 if len(points.row) < _CROWD else 14)
    )
    yield Section("map", "Map", words, (chart,))


def _of_reasons(summary: SelectSummary) -> Section:
    reasons = Table(
        ("reason", "rows"), tuple((k, f"{n:,}") for k, n in summary.reasons.items()), (1,)
    )
    flags = Table(("flag", "rows"), tuple((k, f"{n:,}") for k, n in summary.flags.items()), (1,))
    words = "Every row of the pool has a reason."
    longest = summary.longest
    if longest is not None and longest.n:
        words += (
            f" Keeping the {longest.n:,} longest responses instead would have kept "
            f"{longest.shared:,} of these rows ({longest.share:.0%})."
        )
    tables = [("What became of the rows", reasons)]
    if summary.flags:
        tables.append(("Flags; a row may have several", flags))
    return Section("reasons", "Kept, dropped and why", words, (), tuple(tables))


def _curve(ranked: pl.DataFrame) -> dict[str, list[Any]]:
    places = np.unique(np.linspace(0, max(ranked.height - 1, 0), _CURVE).round().astype(int))
    shown = ranked[places.tolist()] if ranked.height else ranked
    return {
        "rank": shown["rank"].to_list(),
        "predicted": [round(value, 6) for value in shown["predicted"]],
        "row": shown["row"].to_list(),
    }


def _rows(decisions: pl.DataFrame, texts: Mapping[int, tuple[str, str]]) -> dict[str, Any]:
    """Return the table of rows, by column, with the exact parts of every prediction."""
    rule = [
        name.removeprefix(CONTRIBUTION)
        for name in decisions.columns
        if name.startswith(CONTRIBUTION)
    ]
    shown = decisions.filter(pl.col("row").is_in(list(texts)))
    records = []
    for one in shown.iter_rows(named=True):
        prompt, response = texts[one["row"]]
        parts = [(one.get(VALUE + name), one[CONTRIBUTION + name]) for name in rule]
        records.append(
            (
                one["row"],
                one["kept"],
                one["rank"],
                _rounded(one["predicted"]),
                one["reason"],
                list(one["flags"]),
                one_line(prompt, _PROMPT),
                one_line(response, _RESPONSE),
                [[_rounded(value), _rounded(added)] for value, added in parts],
            )
        )
    names = ("row", "kept", "rank", "predicted", "reason", "flags", "prompt", "response", "parts")
    return {"rule": rule, "n_pool": decisions.height, **columns_of(names, records)}


def _predicted(value: float) -> str:
    # A log loss wants four decimals, a baseline's score of hundreds of tokens none.
    return f"{value:.4f}" if abs(value) < _SMALL else number(value)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{_predicted(value)}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.10g}")


def _previews(rows: Sequence[Mapping[str, Any]], texts: Mapping[int, tuple[str, str]]) -> Table:
    cells = []
    for one in rows:
        prompt, response = texts.get(one["row"], ("", ""))
        cells.append(
            (
                f"{one['rank']:,}",
                f"{one['row']:,}",
                "kept" if one["kept"] else one["reason"],
                _predicted(one["predicted"]),
                one_line(prompt, 120),
                one_line(response, 200),
            )
        )
    return Table(("rank", "row", "was", "predicted", "prompt", "response"), tuple(cells), (0, 1, 3))


def _words_of_rows(n_pool: int, n_shown: int) -> str:
    if n_shown >= n_pool:
        return f"All {n_pool:,} rows."
    return (
        f"{n_shown:,} of {n_pool:,} rows: both ends of the ranking, both sides of the cut, flagged "
        "ones, and others drawn by hash. The decisions table beside the selection has all."
    )


def _decile_places(n: int) -> list[int]:
    return sorted({round(i * (n - 1) / _DECILES) for i in range(_DECILES + 1)}) if n else []


def _of_deciles(ranked: pl.DataFrame) -> list[int]:
    return [int(ranked["row"][i]) for i in _decile_places(ranked.height)]


def _drawn(rows: Sequence[int], n: int) -> list[int]:
    """Rows in an order that looks random and is always the same."""
    return sorted(rows, key=lambda row: hashlib.blake2b(str(row).encode(), digest_size=8).digest())[
        :n
    ]
