"""The page of a fit: what was found, how sure it is, and what the runs do not support."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from instructmining.report.fits import maybe
from instructmining.report.page.base import Chart, Page, Section, Table, Tile
from instructmining.report.page.charts import estimates_chart, scatter_chart

Document = Mapping[str, Any]

#: Names of scores, as `rules.validate` calls them.
_RULE, _LENGTH, _SHARES = "rule as shipped", "length alone", "source shares alone"


def fit_page(document: Document) -> Page:
    """Put together what a fit's page shows.

    Parameters
    ----------
    document : mapping
        As `fit_data` gives it, or ``diagnostics.json`` holds it.
    """
    rule = document["rule"]
    evaluation = (rule.get("evaluation") or {}).get("names", ())
    sections = [
        _coefficients(document),
        _seen_and_not(document),
        _residuals(document),
        _partial(document),
        _stability(document),
        _power(document),
    ]
    return Page(
        "fit",
        f"fit of {rule['name']}",
        _headline(document, evaluation),
        tuple(document["warnings"]),
        _tiles(document),
        tuple(section for section in sections if section is not None),
        {},
        {"rule": rule},
    )


def _headline(document: Document, evaluation: Sequence[str]) -> str:
    return (
        f"{document['rule']['name']}: from {document['n_runs']:,} runs over "
        f"{document['n_mixtures']:,} mixtures, {document['weighting']}-weighted log loss"
        f"{' on ' if evaluation else ''}{', '.join(evaluation)}."
    )


def _tiles(document: Document) -> tuple[Tile, ...]:
    scores = document["validation"]["scores"]
    beside = [
        f"{maybe(scores[name]['loo_r2'], 2)} {name}"
        for name in (_LENGTH, _SHARES)
        if name in scores
    ]
    inflations = [one["vif"] for one in document["coefficients"] if one["vif"] is not None]
    ranking = document["ranking"] or {"overlaps": []}
    overlaps = {one["top"]: one["refits"][1] for one in ranking["overlaps"]}
    return (
        Tile("R², mixture left out", maybe(scores[_RULE]["loo_r2"], 2), "; ".join(beside)),
        Tile(
            "R², source left out",
            maybe(scores[_RULE]["source_r2"], 2),
            "against the mean of the other mixtures",
        ),
        Tile("largest VIF", maybe(max(inflations, default=None), 1), "below 5 is wanted"),
        Tile(
            "top 5 % of two refits",
            _percent(overlaps.get(0.05)),
            "shared, the median" if overlaps else "no rows were given to rank",
        ),
    )


def _coefficients(document: Document) -> Section:
    entered = [one for one in document["coefficients"] if one["standardised"] is not None]
    rows = []
    for one in entered:
        # Intervals in the unit of the standardised estimate.
        unit = one["standardised"] / one["estimate"] if one["estimate"] else 0.0
        low, high = sorted(unit * end for end in one["interval"])
        rows.append({"label": one["name"], "value": one["standardised"], "low": low, "high": high})
    words = (
        "Change of the log loss, in its standard deviations over mixtures, for one standard "
        "deviation of the column, source shares held: left of 0 more of it is better. 95 % "
        "intervals, robust to heteroscedasticity (HC3)."
    )
    spreads = {one["feature"]: one for one in document["resampled"]["spreads"]}
    cells = tuple(
        (
            one["name"],
            f"{one['estimate']:+.5f}",
            _span(one["interval"], "+.5f"),
            maybe(one["standardised"], 2),
            maybe(one["vif"], 1),
            _percent(spreads[one["name"]]["same_sign"]) if one["name"] in spreads else "",
            "–" if one["without_shares"] is None else f"{one['without_shares']:+.5f}",
            f"{one['other_weighting']:+.5f}",
            _span(one["other_interval"], "+.5f"),
        )
        for one in document["coefficients"]
    )
    other = "example" if document["weighting"] == "token" else "token"
    columns = (
        *("feature", "estimate", "95 %", "std.", "VIF", "same sign"),
        *("without shares", f"by {other}", "95 %"),
    )
    chart = Chart("Coefficients, standardised", words, estimates_chart(rows, "coefficient"))
    note = (
        "Same sign: share of bootstrap draws over mixtures. Without shares: the same columns, "
        f"sources not held. Condition number {document['condition_number']:.1f}."
    )
    tables = [("In numbers", Table(columns, cells, tuple(range(1, 9))))]
    if document["supported"]:
        said = tuple((text,) for text in document["supported"])
        tables.insert(0, ("What the runs support", Table(("in words",), said)))
    charts = (chart,) if rows else ()
    return Section("coefficients", "Coefficients", note, charts, tuple(tables))


def _seen_and_not(document: Document) -> Section:
    validation = document["validation"]
    cells = tuple(
        (
            one["name"],
            maybe(one["r2"], 3),
            maybe(one["loo_r2"], 3),
            maybe(one["loo_spearman"], 2),
            maybe(one["source_r2"], 3),
            maybe(one["source_spearman"], 2),
        )
        for one in validation["scores"].values()
    )
    columns = ("R² of", "in sample", "mixture out", "ranks", "source out", "ranks")
    gains = tuple(
        (one["of"], one["over"], f"{one['value']:+.3f}", _span(one["interval"], "+.3f"))
        for one in validation["gains"]
    )
    added = tuple(
        (
            one["feature"],
            f"{one['estimate']:+.5f}",
            _span(one["interval"], "+.5f"),
            f"{one['partial_r2']:.2f}",
            f"{one['gain']['value']:+.3f}",
            _span(one["gain"]["interval"], "+.3f"),
        )
        for one in validation["added"]
    )
    bars = tuple(
        (one["name"], maybe(one["value"], 3), one["wanted"], "yes" if one["met"] else "no")
        for one in document["bars"]
    )
    tables = [("Scores", Table(columns, cells, (1, 2, 3, 4, 5)))]
    if gains:
        tables.append(
            ("Gain in R², mixture left out", Table(("of", "over", "gain", "95 %"), gains, (2, 3)))
        )
    if added:
        of_each = ("once length is known", "estimate", "95 %", "partial R²", "gain", "95 %")
        tables.append(("What each column adds", Table(of_each, added, (1, 2, 3, 4, 5))))
    tables.append(("Bars", Table(("what", "value", "wanted", "met"), bars, (1,))))
    rows = [
        {"x": one["left_out"][_RULE], "y": one["log_loss"], "label": one["mixture"]}
        for one in document["mixtures"]
    ]
    words = (
        "Every point is a mixture: what the rule fitted without it predicts, and what models tuned "
        "on it lost. On the line they agree."
    )
    chart = Chart(
        "Predicted without the mixture, and seen",
        words,
        scatter_chart(rows, ("predicted log loss", "log loss seen"), 1.0),
    )
    told = (
        "Over runs, with each mixture, or each source, left out and the columns chosen anew every "
        "time. Ranks: Spearman."
    )
    return Section("unseen", "On what it has not seen", told, (chart,), tuple(tables))


def _residuals(document: Document) -> Section:
    mixtures = document["mixtures"]
    weights = np.array([one["weight"] for one in mixtures])
    fitted = np.array([one["fitted"] for one in mixtures])
    residuals = np.array([one["log_loss"] for one in mixtures]) - fitted
    names = [one["mixture"] for one in mixtures]
    scaled = residuals * np.sqrt(weights)
    scaled /= scaled.std() or 1.0
    order = np.argsort(scaled)
    quantiles = norm.ppf((np.arange(len(scaled)) + 0.5) / len(scaled))
    against = _points(fitted, residuals, names)
    normal = _points(quantiles, scaled[order], [names[i] for i in order])
    noise, lack = document["noise"], document["lack_of_fit"]
    facts = []
    if noise["seeds"] is not None:
        facts.append(
            f"Standard deviation of the log loss: {math.sqrt(noise['mixtures']):.4f} between "
            f"mixtures, {math.sqrt(noise['seeds']):.4f} between seeds; the highest R² seeds allow "
            f"is {maybe(noise['r2_ceiling'], 3)}."
        )
    if lack is not None:
        first, second = lack["degrees_of_freedom"]
        facts.append(
            f"Lack of fit: F({first}, {second}) = {lack['f']:.1f}, p = {lack['p']:.2g}: what "
            f"the columns leave is {'more' if lack['p'] < 0.05 else 'no more'} than seeds explain."
        )
    charts = (
        Chart(
            "Residuals against what was fitted",
            "A pattern, or a spread that changes from left to right, is what the columns miss.",
            scatter_chart(against, ("fitted log loss", "residual"), 0.0),
            wide=False,
        ),
        Chart(
            "Residuals against a normal distribution",
            "Off the line at its ends: mixtures that are farther out than noise would put them.",
            scatter_chart(normal, ("normal quantile", "residual, standardised"), 1.0),
            wide=False,
        ),
    )
    return Section("residuals", "What is left", " ".join(facts), charts)


def _partial(document: Document) -> Section | None:
    mixtures = document["mixtures"]
    slopes = {one["name"]: one["estimate"] for one in document["coefficients"]}
    charts = []
    for name in mixtures[0]["partial"]:
        x, y = np.array([one["partial"][name] for one in mixtures]).T
        rows = _points(x, y, [one["mixture"] for one in mixtures])
        words = f"What of {name} and of the log loss the other terms leave."
        titles = (f"{name}, rest", "log loss, rest")
        charts.append(Chart(name, words, scatter_chart(rows, titles, slopes[name]), wide=False))
    if not charts:
        return None
    told = "The slope of each line is the column's coefficient; a single far point may carry it."
    return Section("partial", "Column by column", told, tuple(charts))


def _stability(document: Document) -> Section | None:
    ranking = document["ranking"]
    if ranking is None:
        return None
    rows, cells = [], []
    for one in ranking["overlaps"]:
        top = f"top {100 * one['top']:g} %"
        kinds = {"rule": one["refits"], "choice repeated": one["repeated"]}
        if one["length_refits"] is not None:
            kinds["length alone"] = one["length_refits"]
        rows += [
            {"label": f"{top}, {kind}", "value": median, "low": low, "high": high}
            for kind, (low, median, high) in kinds.items()
        ]
        shared = "–" if one["with_length"] is None else f"{one['with_length']:.2f}"
        cells.append((top, f"{one['n']:,}", shared))
    chart = Chart(
        "Rows that two refits share",
        "Share of the top rows that pairs of refits on other draws of mixtures have in common: "
        "median and 95 %. By chance it is the share the top is called by.",
        estimates_chart(rows, "shared"),
    )
    used = tuple(
        (
            one["column"],
            f"{one['undefined']:.1%}",
            _percent(one["outside"], 1),
            f"{one['clipped']:.1%}",
            f"{one['beyond_means']:.1%}",
            f"{one['spread']:.1f}",
        )
        for one in ranking["columns"]
    )
    heads = ("column", "undefined", "outside the fit", "clipped", "beyond the means", "spread")
    tables = (
        ("Shared with keeping the longest", Table(("top", "rows", "shared"), tuple(cells), (1, 2))),
        ("Rows and the range of the fit", Table(heads, used, (1, 2, 3, 4, 5))),
    )
    told = (
        f"{ranking['n_ranked']:,} of {ranking['n_rows']:,} rows ranked by every refit. Spread: "
        "standard deviation over rows in those over mixture means."
    )
    return Section("stability", "How steady the ranking is", told, (chart,), tables)


def _power(document: Document) -> Section | None:
    if not document["sensitivity"]:
        return None
    sizes = list(document["sensitivity"][0]["detectable"])
    cells = tuple(
        (
            one["feature"],
            *(maybe(one["detectable"][size], 2) for size in sizes),
            f"{one['needed']:,}",
        )
        for one in document["sensitivity"]
    )
    columns = ("feature", *(f"{size} mixtures" for size in sizes), "mixtures for 0.3")
    told = (
        "Smallest effect found with 80 % power at 5 %, in standard deviations of the log loss for "
        "one of the column, at the noise and collinearity seen."
    )
    table = Table(columns, cells, tuple(range(1, 2 + len(sizes))))
    return Section("power", "What could be found", told, (), (("Detectable effects", table),))


def _points(x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"x": float(a), "y": float(b), "label": name}
        for a, b, name in zip(x, y, names, strict=True)
    ]


def _span(pair: Sequence[float], form: str) -> str:
    return f"{pair[0]:{form}} … {pair[1]:{form}}"


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}%}"
