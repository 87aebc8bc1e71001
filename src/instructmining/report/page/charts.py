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


def _spec(chart: Any, height: int) -> Mapping[str, Any]:
    made = chart.properties(width="container", height=height, background="transparent")
    spec: dict[str, Any] = made.to_dict(validate=True)
    # Altair sets sizes of its own here, which the page decides.
    spec.pop("config", None)
    return spec
