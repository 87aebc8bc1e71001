"""The page of a comparison: the verdict, differences with intervals, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from instructmining.report.comparisons import p_value, span
from instructmining.report.forecast import duration
from instructmining.report.page.base import Chart, Page, Section, Table, Tile
from instructmining.report.page.charts import forest_chart

Document = Mapping[str, Any]


def comparison_page(document: Document) -> Page:
    """Put together what a comparison's page shows.

    Parameters
    ----------
    document : mapping
        As `Compared.to_json` gives it, or ``comparison.json`` holds it.
    """
    comparison = document["comparison"]
    contrasts = comparison["contrasts"]
    budget = document["budget"]
    n_runs = sum(cost["n_runs"] for cost in document["methods"])
    tiles = (
        Tile("methods", str(len(document["methods"])), f"{n_runs} runs"),
        Tile("seeds", str(len(document["seeds"])), "paired across methods"),
        Tile("rows", f"{budget['rows']:,}", f"taken by {budget['reference']}"),
        Tile("equal", budget["equal"], f"and {budget['steps']:,} optimiser steps a run"),
    )
    sections = (
        contrast_section(contrasts, comparison["terms"]),
        _losses(document),
        _wins(contrasts, comparison["terms"]),
        _cost(document),
    )
    return Page(
        "compare",
        "comparison of selections",
        _sentence(document["verdict"]),
        tuple(document["notes"]),
        tiles,
        sections,
        {},
        {name: document[name] for name in ("plan", "base_model", "training", "seeds")},
    )


def contrast_section(contrasts: Sequence[Document], terms: Document) -> Section:
    """Return the forest plot and the table of some contrasts; the page of a search has it too."""
    words = (
        "Loss of the one over that of the other, less 1, by token: left of 0 the one is better. "
        f"{100 * (1 - terms['level']):g} % intervals over prompts and seeds, each by itself; the "
        f"band of ±{100 * terms['margin']:g} % does not matter. Conclusions hold for all together."
    )
    rows = [
        {
            "label": f"{one['method']} − {one['other']}, {one['evaluation']}",
            "value": one["by_token"]["relative"],
            "low": (one["by_token"]["interval"] or [None, None])[0],
            "high": (one["by_token"]["interval"] or [None, None])[1],
            "conclusion": one["conclusion"],
        }
        for one in contrasts
    ]
    cells = [
        (
            f"{one['method']} − {one['other']}",
            one["evaluation"],
            *_difference(one["by_token"]),
            *_difference(one["by_example"])[:2],
            _p(one["by_token"]["p_adjusted"]),
            one["conclusion"],
        )
        for one in contrasts
    ]
    shown = ("of", "on", "by token", "interval", "by example", "interval", "p, adj.", "conclusion")
    chart = Chart("Differences of the loss", words, forest_chart(rows, terms["margin"]))
    table = ("In numbers", Table(shown, tuple(cells), (2, 3, 4, 5, 6)))
    return Section("differences", "Differences", words, (chart,), (table,))


def _losses(document: Document) -> Section:
    cells = [
        (name, "untuned", "", f"{loss['token_mean']:.4f}", "", f"{loss['example_mean']:.4f}", "")
        for name, loss in document["untuned"].items()
    ]
    cells += [
        (
            one["evaluation"],
            one["method"],
            str(one["n_seeds"]),
            *_loss(one["by_token"]),
            *_loss(one["by_example"]),
        )
        for one in document["comparison"]["methods"]
    ]
    cells.sort(key=lambda row: row[0])
    columns = ("set", "loss of", "seeds", "by token", "interval", "by example", "interval")
    return Section(
        "losses",
        "Losses",
        "Nats per token; intervals over prompts and seeds, which methods share, so that two may "
        "differ surely though their intervals overlap.",
        (),
        (("Losses of every method", Table(columns, tuple(cells), (2, 3, 4, 5, 6))),),
    )


def _wins(contrasts: Sequence[Document], terms: Document) -> Section:
    cells = []
    for one in contrasts:
        wins = one["wins"]
        shares = (f"{wins[name]:.1%}" for name in ("win_share", "tie_share", "lose_share"))
        low, high = wins["win_interval"]
        cells.append(
            (
                f"{one['method']} − {one['other']}",
                one["evaluation"],
                *shares,
                f"{100 * low:.0f} … {100 * high:.0f} %",
            )
        )
    words = (
        f"A prompt is won where the loss, averaged over seeds, is lower by more than "
        f"{terms['tie']:g} nats per token."
    )
    columns = ("of", "on", "won", "tied", "lost", "won, interval")
    table = ("Prompts won, tied and lost", Table(columns, tuple(cells), (2, 3, 4, 5)))
    return Section("wins", "Prompts won", words, (), (table,))


def _cost(document: Document) -> Section:
    cells = [
        (
            cost["method"],
            str(cost["n_runs"]),
            span(cost["rows"]),
            span(cost["tokens"]),
            f"{cost['steps']:,}",
            "–" if cost["seconds"] is None else duration(cost["seconds"]),
        )
        for cost in document["methods"]
    ]
    columns = ("method", "runs", "rows", "response tokens", "steps", "training a run")
    table = ("What every method took", Table(columns, tuple(cells), (1, 2, 3, 4, 5)))
    family = f"Family: {document['comparison']['family']}."
    return Section("cost", "Cost and family", family, (), (table,))


def _difference(one: Document) -> tuple[str, str]:
    interval = "–"
    if one["interval"] is not None:
        low, high = one["interval"]
        interval = f"{100 * low:+.2f} … {100 * high:+.2f}"
    return f"{100 * one['relative']:+.2f} %", interval


def _loss(one: Document) -> tuple[str, str]:
    interval = one["interval"]
    return f"{one['value']:.4f}", "–" if interval is None else "{:.4f} … {:.4f}".format(*interval)


def _p(value: float | None) -> str:
    return "–" if value is None else p_value(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
