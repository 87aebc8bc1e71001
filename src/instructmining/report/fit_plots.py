"""Figures of a fit: residuals, partial regressions, stability of coefficients and rankings.

Needs the extra ``plots``. Drawn without a display and without pyplot's global state, so that
importing this changes nothing and two threads do not draw into one figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.rules.regression import partial_points

if TYPE_CHECKING:
    from instructmining.rules.ranking import Quantiles, Ranking
    from instructmining.rules.result import FitResult
    from instructmining.rules.verdict import Verdict

#: Colours that differ in lightness, too, and for readers who do not tell red from green.
_POINT, _LINE, _OTHER = "#1b4f72", "#b03a2e", "#a8a29a"
_FORMATS = ("png", "svg")
#: Width of one panel and height of a figure, in inches.
_PANEL = (3.6, 3.2)
_PER_ROW = 3
#: Without these an SVG differs from one run to the next.
_STYLE = {
    "svg.hashsalt": "instructmining",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
}


def require_matplotlib() -> None:
    """Refuse, before long work, to draw without matplotlib.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            "figures need matplotlib, which is not installed; run "
            "`pip install 'instructmining[plots]'`, or leave --diagnostics out"
        ) from error


def save_plots(verdict: Verdict, folder: Path) -> list[Path]:
    """Draw all figures of a fit, each as PNG and SVG.

    Parameters
    ----------
    verdict : Verdict
        The fit; without a ranking, the figure of rankings is left out.
    folder : Path
        Where to; it is made where it is missing.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If matplotlib is missing, or the folder cannot be written to.
    """
    require_matplotlib()
    import matplotlib

    written = []
    with matplotlib.rc_context(_STYLE):
        for name, figure in _figures(verdict):
            for kind in _FORMATS:
                path = folder / f"{name}.{kind}"
                with replacing(path) as temporary:
                    # A date would make every run's file another one.
                    metadata = {"Date": None} if kind == "svg" else {"Software": None}
                    figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
                written.append(path)
    return written


def _figures(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    yield "residuals", _residuals(verdict.result)
    yield "partial", _partial(verdict.result)
    yield "coefficients", _coefficients(verdict.result)
    if verdict.ranking is not None:
        yield "ranking", _ranking(verdict.ranking)


def _panels(n: int) -> tuple[Any, list[Any]]:
    """Make a figure of `n` panels, a few per row."""
    from matplotlib.figure import Figure

    columns = min(n, _PER_ROW)
    rows = -(-n // columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(n)]


def _residuals(result: FitResult) -> Any:
    """Residuals against fitted values, and observed against predicted with the mixture left out."""
    figure, (left, right) = _panels(2)
    fitted, y = result.regression.fitted, result.means.y
    left.axhline(0.0, color=_OTHER, linewidth=1)
    left.scatter(fitted, y - fitted, s=14, color=_POINT, alpha=0.8)
    left.set(xlabel="fitted log loss", ylabel="residual", title="Residuals, one point a mixture")
    predicted = next(iter(result.validation.scores.values())).left_out
    both = np.concatenate([y, predicted])
    right.plot([both.min(), both.max()], [both.min(), both.max()], color=_OTHER, linewidth=1)
    right.scatter(predicted, y, s=14, color=_POINT, alpha=0.8)
    right.set(
        xlabel="log loss predicted by the rule",
        ylabel="log loss",
        title=f"Mixture left out (R² {result.loo_r2:.2f})",
    )
    return figure


def _partial(result: FitResult) -> Any:
    """Partial regressions: a column and the loss, less what all other terms explain."""
    figure, panels = _panels(len(result.means.features))
    for panel, one in zip(panels, result.coefficients[1:], strict=True):
        x, y = partial_points(result.means, one.name)
        ends = np.array([x.min(), x.max()])
        panel.scatter(x, y, s=14, color=_POINT, alpha=0.8)
        panel.plot(ends, one.estimate * ends, color=_LINE, linewidth=1.5)
        low, high = one.interval
        panel.set(
            xlabel=f"{one.name}, rest",
            ylabel="log loss, rest",
            title=f"{one.estimate:+.3g} ({low:+.2g} … {high:+.2g})",
        )
    return figure


def _coefficients(result: FitResult) -> Any:
    """Standardised coefficients with both intervals, and over bootstrap draws."""
    drawn, names = result.resampled, result.means.features
    figure, (left, right) = _panels(2)
    scale = dict(
        zip(names, result.means.x.std(axis=0, ddof=1) / result.means.y.std(ddof=1), strict=True)
    )
    spreads = {one.feature: one for one in drawn.spreads}
    for place, one in enumerate(reversed(result.coefficients[1:])):
        for shift, pair, colour in (
            (0.12, one.interval, _POINT),
            (-0.12, spreads[one.name].interval, _OTHER),
        ):
            ends = np.array(pair) * scale[one.name]
            left.plot(ends, [place + shift] * 2, color=colour, linewidth=2)
        left.plot(one.estimate * scale[one.name], place + 0.12, "o", color=_POINT, markersize=4)
    left.axvline(0.0, color=_LINE, linewidth=1)
    left.set_yticks(range(len(names)), list(reversed(names)))
    left.set(xlabel="standardised coefficient", title="95 %: HC3 (dark), bootstrap (light)")
    shares = [spreads[name].chosen for name in reversed(drawn.features)]
    right.barh(range(len(shares)), shares, color=_POINT, height=0.6)
    right.set_yticks(range(len(shares)), list(reversed(drawn.features)))
    right.set(xlim=(0, 1), xlabel="share of bootstrap draws", title="Chosen, choice repeated")
    return figure


def _ranking(ranking: Ranking) -> Any:
    """Overlap at the top of the ranking, by how much is taken."""
    figure, (panel,) = _panels(1)
    tops = [one.top for one in ranking.overlaps]
    series: list[tuple[str, list[Quantiles], str, float]] = [
        ("refits, columns held", [one.refits for one in ranking.overlaps], _POINT, -0.12),
        ("refits, choice repeated", [one.repeated for one in ranking.overlaps], _LINE, 0.0),
    ]
    lengths = [one.with_length for one in ranking.overlaps if one.with_length is not None]
    for label, values, colour, shift in series:
        places = np.arange(len(tops)) + shift
        low, middle, high = np.array(values).T
        panel.errorbar(
            places,
            middle,
            yerr=[middle - low, high - middle],
            fmt="o",
            color=colour,
            markersize=4,
            label=label,
        )
    if lengths:
        panel.plot(np.arange(len(tops)) + 0.12, lengths, "x", color="black", label="rule, length")
    panel.plot(range(len(tops)), tops, "_", color=_OTHER, markersize=14, label="chance")
    panel.set_xticks(range(len(tops)), [f"top {top:.0%}" for top in tops])
    panel.set(ylim=(0, 1.02), ylabel="rows in common", title="Rankings compared")
    panel.legend(fontsize=7, frameon=False, loc="best")
    return figure
