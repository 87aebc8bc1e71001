"""Show a fit, its diagnosis and what it does not support on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from instructmining.report.select import inert
from instructmining.report.terminal import coefficient, grid, inflation, interval, notes, table

if TYPE_CHECKING:
    from instructmining.rules.ranking import Quantiles, Ranking
    from instructmining.rules.result import FitResult
    from instructmining.rules.validate import Validation
    from instructmining.rules.verdict import Bar, Verdict

#: Sets of columns shown, best first.
_SHOWN = 5


def render_fit(verdict: Verdict) -> RenderableType:
    """Return a fit and what is to be thought of it for printing with Rich."""
    result = verdict.result
    evaluation = result.rule.provenance_.evaluation or {}
    head = (
        f"{result.rule.label}: {result.n_runs} runs over {result.n_mixtures} mixtures, "
        f"{result.weighting}-weighted log loss on {', '.join(evaluation.get('names', ()))}"
    )
    parts: list[RenderableType] = [
        inert(head, style="bold"),
        *_section("", _coefficients(result), _basis(result)),
        *_section(
            "",
            _robust(result),
            "Clustered: from all runs; bootstrap: over mixtures, with the share of draws that "
            "keep the sign.",
        ),
        *_section("", _otherwise(result)),
        *_choice(result),
        *_validation(result.validation),
        *_section("What could be found", _sensitivity(result), _SENSITIVITY),
        Text(),
        _noise(result),
    ]
    if verdict.ranking is not None:
        parts += _ranking(verdict.ranking)
    parts += _section("Bars", _bars(verdict.bars))
    parts += notes("Supported", result.supported)
    return Group(*parts, *notes("To be known", verdict.warnings))


def _section(head: str, *parts: RenderableType | str) -> list[RenderableType]:
    shown = [Text(part) if isinstance(part, str) else part for part in parts]
    return [Text(), *([Text(head, style="bold")] if head else []), *shown]


def _coefficients(result: FitResult) -> Table:
    shown = table("Feature", "Estimate", "95 % interval", "std.", "VIF", right=(1, 2, 3, 4))
    for one in result.coefficients:
        shown.add_row(
            inert(one.name),
            coefficient(one.estimate),
            interval(one.interval),
            "" if one.standardised is None else f"{one.standardised:+.2f}",
            "" if one.vif is None else inflation(one.vif),
        )
    return shown


def _basis(result: FitResult) -> str:
    sources = len(result.table.sources)
    shares = (
        f"shares of {sources} sources held" if result.means.n_nuisance else "no source shares held"
    )
    return (
        f"From one point per mixture, {shares}; intervals robust to heteroscedasticity (HC3), "
        f"Student's t with {result.degrees_of_freedom:.0f} degrees of freedom; std.: in standard "
        "deviations over mixtures."
    )


def _robust(result: FitResult) -> Table:
    shown = table("Feature", "95 %, clustered", "95 %, bootstrap", "same sign", right=(1, 2, 3))
    spreads = {one.feature: one for one in result.resampled.spreads}
    for one in result.coefficients:
        spread = spreads.get(one.name)
        shown.add_row(
            inert(one.name),
            interval(one.cluster_interval),
            "" if spread is None else interval(spread.interval),
            "" if spread is None else f"{spread.same_sign:.0%}",
        )
    return shown


def _otherwise(result: FitResult) -> Table:
    other = f"by {result.other_weighting}"
    shown = table("Feature", "without shares", f"Estimate {other}", "95 %", right=(1, 2, 3))
    for one in result.coefficients:
        shown.add_row(
            inert(one.name),
            "–" if one.without_shares is None else coefficient(one.without_shares),
            coefficient(one.other_weighting),
            interval(one.other_interval),
        )
    return shown


def _choice(result: FitResult) -> list[RenderableType]:
    choice = result.choice
    if choice.method == "none":
        return []
    if choice.method == "ridge":
        text = f"Ridge: penalty of {choice.penalty:.2g} variances, least error on mixtures left out"
        return [Text(), Text(text)]
    shown = table("Columns", "AICc", "largest VIF", "", right=(1, 2))
    for one in choice.considered[:_SHOWN]:
        shown.add_row(
            inert(", ".join(one.features) or "none"),
            f"{one.aicc - choice.considered[0].aicc:+.1f}",
            inflation(one.vif),
            "refused" if one.refused else "chosen" if one.features == choice.features else "",
        )
    taken = table("Candidate", "chosen in draws", "95 %, choice repeated", right=(1, 2))
    for spread in result.resampled.spreads:
        taken.add_row(inert(spread.feature), f"{spread.chosen:.0%}", interval(spread.repeated))
    head = f"Columns chosen by AICc from {len(choice.considered)} sets"
    return _section(head, shown, taken)


def _validation(validation: Validation) -> list[RenderableType]:
    scores = table(
        *("R²", "in sample", "mixture out", "ranks", "source out", "ranks"),
        right=(1, 2, 3, 4, 5),
    )
    for one in validation.scores.values():
        scores.add_row(
            one.name,
            maybe(one.r2, 3),
            maybe(one.loo_r2, 3),
            maybe(one.loo_spearman),
            maybe(one.source_r2, 3),
            maybe(one.source_spearman),
        )
    legend = (
        "Over runs, with each mixture or source left out and the columns chosen anew every time; "
        "with a source left out against the mean of the mixtures without it. Ranks: Spearman."
    )
    parts = _section("On what it has not seen", scores, legend)
    if validation.gains:
        gains = table("Gain in R², mixture left out", "over", "gain", "95 %", right=(2, 3))
        for gain in validation.gains:
            gains.add_row(gain.of, gain.over, f"{gain.value:+.3f}", interval(gain.interval))
        parts += _section("", gains)
    if validation.added:
        added = table(
            *("Once length is known", "Estimate", "95 %", "partial R²", "gain", "95 %"),
            right=(1, 2, 3, 4, 5),
        )
        for column in validation.added:
            added.add_row(
                inert(column.feature),
                f"{column.estimate:+.2g}",
                _short(column.interval),
                f"{column.partial_r2:.2f}",
                f"{column.gain.value:+.2f}",
                _short(column.gain.interval),
            )
        parts += _section("", added)
    return parts


_SENSITIVITY = (
    "Smallest effect found with 80 % power at 5 %, in standard deviations of the log loss per "
    "standard deviation of the column, at the noise and collinearity seen; last: mixtures for 0.3."
)


def _sensitivity(result: FitResult) -> Table:
    sizes = list(result.sensitivity[0].detectable)
    shown = table(
        "Feature",
        *(f"{n} mixtures" for n in sizes),
        "needed",
        right=tuple(range(1, 2 + len(sizes))),
    )
    for one in result.sensitivity:
        effects = ["–" if e is None else f"{e:.2f}" for e in one.detectable.values()]
        shown.add_row(inert(one.feature), *effects, str(one.needed))
    return shown


def _noise(result: FitResult) -> Table:
    noise = result.noise
    rows = []
    if noise.r2_ceiling is not None and noise.seeds is not None:
        rows += [
            ("highest R² seeds allow", f"{noise.r2_ceiling:.3f}"),
            (
                "standard deviation of log loss",
                f"{math.sqrt(noise.mixtures):.4f} between mixtures, "
                f"{math.sqrt(noise.seeds):.4f} between seeds",
            ),
        ]
    if result.lack_of_fit is not None:
        lack = result.lack_of_fit
        first, second = lack.degrees_of_freedom
        rows.append(("lack of fit", f"F({first}, {second}) {lack.f:.2f}, p {lack.p:.2g}"))
    if result.untuned is not None:
        rows.append(("log loss of the untuned model", f"{result.untuned:.4f}"))
    rows.append(("condition number", f"{result.condition_number:.1f}"))
    return grid(rows)


def _ranking(ranking: Ranking) -> list[RenderableType]:
    shown = table(
        *("Top", "rows", "refits", "choice repeated", "rule and length", "refits of length"),
        right=(1, 2, 3, 4, 5),
    )
    for one in ranking.overlaps:
        shown.add_row(
            f"{one.top:.0%}",
            f"{one.n:,}",
            _quantiles(one.refits),
            _quantiles(one.repeated),
            "–" if one.with_length is None else f"{one.with_length:.2f}",
            "–" if one.length_refits is None else _quantiles(one.length_refits),
        )
    used = table(
        *("Column", "undefined", "outside the fit", "clipped", "beyond the means", "spread"),
        right=(1, 2, 3, 4, 5),
    )
    for row in ranking.columns:
        used.add_row(
            inert(row.column),
            f"{row.undefined:.1%}",
            "–" if row.outside is None else f"{row.outside:.1%}",
            f"{row.clipped:.1%}",
            f"{row.beyond_means:.1%}",
            f"{row.spread:.1f}",
        )
    head = f"Overlap of rankings over {ranking.n_ranked:,} of {ranking.n_rows:,} rows"
    legend = "Median and 95 % over pairs of bootstrap refits; by chance, what the top is called."
    rows = "Share of rows; spread: standard deviation over rows in those over mixture means."
    return [*_section(head, shown, legend), *_section("", used, rows)]


def _bars(bars: Sequence[Bar]) -> Table:
    return grid(
        (
            "met" if bar.met else "not met",
            f"{bar.name}: {bar.value:.3f}, wanted {bar.wanted}",
        )
        for bar in bars
    )


def _short(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.2g} … {pair[1]:+.2g}"


def _quantiles(values: Quantiles) -> str:
    low, median, high = values
    return f"{median:.2f} ({low:.2f} … {high:.2f})"


def maybe(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits; a dash where there is none."""
    # Plus zero: a negative number that rounds to zero would show as -0.000.
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"
