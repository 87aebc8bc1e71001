"""The page of a search for the size: the curves, the best size, and what it is worth elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instructmining.report.forecast import duration
from instructmining.report.page.base import Chart, Page, Section, Table, Tile
from instructmining.report.page.charts import sizes_chart
from instructmining.report.page.comparing import contrast_section

Document = Mapping[str, Any]
#: What curves are called on a page.
_CURVES = {
    "epochs": "first rows, fixed epochs",
    "steps": "first rows, fixed steps",
    "random": "random rows, as many tokens",
}
_PARTS = {"fit": "the prompts searched on", "report": "the prompts kept back"}


def search_page(document: Document) -> Page:
    """Put together what a search's page shows.

    Parameters
    ----------
    document : mapping
        As `Found.to_json` gives it, or ``search.json`` holds it.
    """
    best, frugal = document["best"], document["frugal"]
    pool, scope = document["pool"], document["scope"]
    points = {point["size"]: point for point in document["curves"]["fit"]["epochs"]["points"]}
    n_runs = len(document["tried"]) * len(document["seeds"])
    tiles = (
        Tile("best", f"{best:,}", f"rows of {pool['n_rows']:,}, ranked by {document['by']}"),
        Tile("enough", f"{frugal:,}", "within one standard error of the best"),
        Tile("its loss", f"{points[best]['loss']:.1%}", "of the untuned model's, searched on"),
        Tile("cost", duration(document["seconds"]), f"{n_runs} runs at most"),
    )
    sections = [_of_part(document, part) for part in _PARTS]
    comparison = document["comparison"]
    sections.append(contrast_section(comparison["contrasts"], comparison["terms"]))
    sections.append(_tried(document))
    text = document["verdict"]
    return Page(
        "search",
        "how many rows are enough",
        f"{text[:1].upper()}{text[1:]}.",
        tuple(document["notes"]),
        tiles,
        tuple(sections),
        {},
        {"plan": document["plan"], "scope": scope, "training": document["training"]},
    )


def _of_part(document: Document, part: str) -> Section:
    rows, cells = [], []
    for name, curve in document["curves"][part].items():
        for point in curve["points"]:
            low, high = point["interval"] or (None, None)
            values = {"low": low, "high": high, "loss": point["loss"]}
            rows.append({"size": point["size"], "curve": _CURVES[name], **values})
            above = point["above_interval"]
            cells.append(
                (
                    _CURVES[name],
                    f"{point['size']:,}",
                    f"{point['loss']:.4f}",
                    "–" if low is None else f"{low:.3f} … {high:.3f}",
                    f"{100 * point['above']:+.2f} %",
                    "–" if above is None else f"{100 * above[0]:+.2f} … {100 * above[1]:+.2f}",
                )
            )
    words = (
        f"Losses on {_PARTS[part]}, relative to the untuned model's and averaged over the "
        "evaluation sets, with intervals over prompts and seeds. Prompts are shared by all "
        "points, so that these differ more surely than the bands show; the upright line is the "
        "best size."
    )
    columns = ("curve", "rows", "loss", "interval", "above best", "interval")
    spec = sizes_chart(rows, document["best"])
    chart = Chart(f"Loss against size on {_PARTS[part]}", words, spec)
    title = "Searched on" if part == "fit" else "Kept back"
    table = ("In numbers", Table(columns, tuple(cells), (1, 2, 3, 4, 5)))
    return Section(part, title, words, (chart,), (table,))


def _tried(document: Document) -> Section:
    proposers = {"sweep": "sweep", "search": "BlendSearch", "comparison": "for comparison"}
    cells = [
        (
            str(number),
            f"{one['size']:,}",
            _CURVES[one["curve"]],
            proposers[one["proposer"]],
            f"{one['tokens']:,}",
        )
        for number, one in enumerate(document["tried"], 1)
    ]
    columns = ("", "rows", "curve", "proposed by", "response tokens")
    table = ("Sizes in the order they were tried", Table(columns, tuple(cells), (0, 1, 4)))
    words = "Equal sizes are run once, whoever proposes them."
    return Section("tried", "What was tried", words, (), (table,))
