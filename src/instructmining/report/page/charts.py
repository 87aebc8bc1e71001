"""Vega-Lite charts of plain data, built with Altair.

Blue, grey and vermilion are told apart by people who do not see all colours (after Okabe and Ito,
2008), on a light page and on a dark one, and never alone: what they mean is said in a legend or by
shape or place. Text and axes take their colours from the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

KEPT, DROPPED, CUT = "#1f8bd1", "#8a8f98", "#d55e00"
_KINDS = alt.Scale(domain=["kept", "dropped"], range=[KEPT, DROPPED])
_PERCENT = alt.Axis(format="+.1~%")
_SETS = alt.Scale(domain=["pool", "selection"], range=[DROPPED, KEPT])


def ranks_chart(name: str, cut: int | None, quantity: str) -> Mapping[str, Any]:
    """Predicted loss against rank, a line where the selection ends.

    Parameters
    ----------
    name : str
        Of the data, with ``rank`` and ``predicted``.
    cut : int or None
        Rank of the last row kept.
    quantity : str
        What is predicted.
    """
    line = (
        alt.Chart(alt.NamedData(name=name))
        .mark_line(color=KEPT, interpolate="monotone")
        .encode(
            x=alt.X("rank:Q", title="rank, best first", scale=alt.Scale(nice=False)),
            y=alt.Y("predicted:Q", title=f"predicted {quantity}", scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("rank:Q", format=","),
                alt.Tooltip("predicted:Q", format=".4f"),
                alt.Tooltip("row:Q"),
            ],
        )
    )
    chart: Any = line
    if cut is not None:
        chart = line + (
            alt.Chart(alt.InlineData(values=[{"cut": cut, "label": f"kept up to {cut:,}"}]))
            .mark_rule(color=CUT, strokeDash=[5, 3], size=2)
            .encode(x="cut:Q", tooltip="label:N")
        )
    return _spec(chart, height=240)


def histogram_chart(
    column: str, edges: Sequence[float], shares: Mapping[str, Sequence[float]], logarithmic: bool
) -> Mapping[str, Any]:
    """Distribution of one indicator, the pool's beside the selection's.

    Parameters
    ----------
    column : str
        Its name.
    edges : sequence of float
        n + 1 ends of bins.
    shares : mapping of str to sequence of float
        ``"pool"`` and ``"selection"`` to the share of rows in each of n bins.
    logarithmic : bool
        Whether bins are of equal ratio.
    """
    values = [
        {"set": kind, "from": edges[i], "to": edges[i + 1], "share": share}
        for kind, of in shares.items()
        for i, share in enumerate(of)
    ]
    scale = alt.Scale(type="symlog" if logarithmic else "linear", nice=False, zero=False)
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_area(interpolate="step-after", opacity=0.55, line=True)
        .encode(
            x=alt.X("from:Q", title=column, scale=scale),
            y=alt.Y("share:Q", title="share of rows", stack=None, axis=alt.Axis(format="%")),
            color=alt.Color("set:N", scale=_SETS, title=None, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("set:N"),
                alt.Tooltip("from:Q", format=".4~g"),
                alt.Tooltip("to:Q", format=".4~g"),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    return _spec(chart, height=170)


def map_chart(name: str, size: int) -> Mapping[str, Any]:
    """Rows as points, near where they are alike; kept and dropped.

    Parameters
    ----------
    name : str
        Of the data, with ``x``, ``y``, ``row`` and ``kept``.
    size : int
        Area of a point.
    """
    chart = (
        alt.Chart(alt.NamedData(name=name))
        .mark_point(filled=True, size=size, opacity=0.65)
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(nice=False, zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(nice=False, zero=False)),
            color=alt.Color("kept:N", scale=_KINDS, title=None, legend=alt.Legend(orient="top")),
            shape=alt.Shape(
                "kept:N",
                scale=alt.Scale(domain=["kept", "dropped"], range=["circle", "cross"]),
                title=None,
            ),
            order=alt.Order("kept:N", sort="ascending"),
            tooltip=[alt.Tooltip("row:Q", title="row"), alt.Tooltip("kept:N", title="was")],
        )
    )
    return _spec(chart, height=460)


def forest_chart(rows: Sequence[Mapping[str, Any]], margin: float) -> Mapping[str, Any]:
    """Differences with intervals, one under the other, and the band that does not matter.

    Parameters
    ----------
    rows : sequence of mapping
        ``label``, ``value``, ``low`` and ``high`` as shares, ``conclusion``; `low` and `high`
        None where there is no interval.
    margin : float
        Half-width of the band.
    """
    band = (
        alt.Chart(alt.InlineData(values=[{"from": -margin, "to": margin}]))
        .mark_rect(color=DROPPED, opacity=0.2)
        .encode(x="from:Q", x2="to:Q")
    )
    x = alt.X("value:Q", title="difference of the loss; left of 0 is better", axis=_PERCENT)
    layers = band + _intervals(rows, x, "+.2%", alt.Tooltip("conclusion:N"))
    return _spec(layers, height=34 * len(rows) + 40)


def estimates_chart(rows: Sequence[Mapping[str, Any]], title: str) -> Mapping[str, Any]:
    """Estimates with intervals, one under the other, and a line at 0.

    Parameters
    ----------
    rows : sequence of mapping
        ``label``, ``value``, ``low`` and ``high``.
    title : str
        What the values are.
    """
    layers = _intervals(rows, alt.X("value:Q", title=title), "+.3f")
    return _spec(layers, height=34 * len(rows) + 40)


def _intervals(rows: Sequence[Mapping[str, Any]], x: Any, form: str, *more: Any) -> Any:
    """Points with intervals, one under the other, and a line at 0; `more` tooltips."""
    base = alt.Chart(alt.InlineData(values=list(rows)))
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
    zero = alt.Chart(alt.InlineData(values=[{"at": 0}])).mark_rule(color=DROPPED).encode(x="at:Q")
    lines = base.mark_rule(size=2, color=KEPT).encode(x=alt.X("low:Q"), x2="high:Q", y=y)
    ends = [alt.Tooltip(f"{name}:Q", format=form) for name in ("value", "low", "high")]
    points = base.mark_point(filled=True, size=70, opacity=1, color=KEPT).encode(
        x=x, y=y, tooltip=[alt.Tooltip("label:N"), *ends, *more]
    )
    return zero + lines + points


def scatter_chart(
    rows: Sequence[Mapping[str, Any]], titles: tuple[str, str], slope: float
) -> Mapping[str, Any]:
    """Points, and a line to hold them against.

    Parameters
    ----------
    rows : sequence of mapping
        ``x``, ``y`` and ``label``.
    titles : tuple of str
        Of both axes.
    slope : float
        Of the line, which goes through the origin: 1 where both are equal, 0 where y is.
    """
    base = alt.Chart(alt.InlineData(values=list(rows)))
    scale = alt.Scale(zero=False)
    x = alt.X("x:Q", title=titles[0], scale=scale)
    y = alt.Y("y:Q", title=titles[1], scale=scale)
    points = base.mark_point(filled=True, size=40, opacity=0.7, color=KEPT).encode(
        x=x,
        y=y,
        tooltip=["label:N", *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in "xy")],
    )
    every = [row["x"] for row in rows]
    ends = [{"x": end, "y": slope * end} for end in (min(every), max(every))]
    held = alt.Chart(alt.InlineData(values=ends)).mark_line(color=CUT, strokeDash=[5, 3])
    return _spec(held.encode(x="x:Q", y="y:Q") + points, height=240)


def sizes_chart(rows: Sequence[Mapping[str, Any]], best: int) -> Mapping[str, Any]:
    """Loss against size, one line for each curve, with intervals.

    Parameters
    ----------
    rows : sequence of mapping
        ``size``, ``curve``, ``loss``, ``low`` and ``high``.
    best : int
        Size marked as the best.
    """
    base = alt.Chart(alt.InlineData(values=list(rows)))
    x = alt.X("size:Q", title="rows", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("loss:Q", title="loss over the untuned model's", scale=alt.Scale(zero=False))
    names = list(dict.fromkeys(row["curve"] for row in rows))
    colours = alt.Scale(domain=names, range=[KEPT, CUT, DROPPED][: len(names)])
    dashes = alt.Scale(domain=names, range=[[1, 0], [6, 3], [2, 3]][: len(names)])
    # Left to itself the legend is as faint as the bands.
    legend = alt.Legend(
        orient="top", symbolType="stroke", symbolSize=400, symbolStrokeWidth=2, symbolOpacity=1
    )
    colour = alt.Color("curve:N", scale=colours, title=None, legend=legend)
    band = base.mark_errorband(opacity=0.15).encode(
        x=x, y=alt.Y("low:Q", title="loss over the untuned model's"), y2="high:Q", color=colour
    )
    line = base.mark_line(point=True).encode(
        x=x,
        y=y,
        color=colour,
        strokeDash=alt.StrokeDash("curve:N", scale=dashes, title=None, legend=legend),
        tooltip=["curve:N", alt.Tooltip("size:Q", format=","), alt.Tooltip("loss:Q", format=".4f")],
    )
    marked = alt.Chart(alt.InlineData(values=[{"best": best}])).encode(x="best:Q")
    rule = marked.mark_rule(color=DROPPED, size=1.5).encode(
        tooltip=alt.Tooltip("best:Q", format=",")
    )
    word = marked.mark_text(
        text="best", color=DROPPED, align="right", dx=-5, y=4, baseline="top", fontSize=12
    )
    return _spec(band + line + rule + word, height=320)


def _spec(chart: Any, height: int) -> Mapping[str, Any]:
    made = chart.properties(width="container", height=height, background="transparent")
    spec: dict[str, Any] = made.to_dict(validate=True)
    # Altair sets sizes of its own here, which the page decides.
    spec.pop("config", None)
    return spec
