"""The report's plots: rows in, SVG out, by Vega-Lite rendered ahead of time.

A plot is text in the page: it needs no script and no network, prints, and follows the page's light or dark
mode, because its colours are the page's CSS variables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

_FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"
_INK, _SOFT, _GRID = "var(--ink)", "var(--soft)", "var(--grid)"
SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)")
_ROW = 26  # height of a column's bars
BEFORE, AFTER = "Parquet, zstd-9", "mdlake archive"
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": _SOFT,
        "titleColor": _SOFT,
        "gridColor": _GRID,
        "domain": False,
        "ticks": False,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "titlePadding": 10,
    },
    "legend": {"labelColor": _INK, "labelFontSize": 12, "title": None, "orient": "top", "symbolSize": 90},
    "header": {"labelColor": _INK, "labelFontSize": 13, "labelFontWeight": 600, "title": None},
    "text": {"color": _INK, "fontSize": 12},
}
_BEFORE_AFTER = alt.Scale(domain=[BEFORE, AFTER], range=["var(--before)", SERIES[0]])
Rows = Sequence[dict[str, Any]]


def column_bytes(rows: Rows) -> str:
    """Two bars a column, before and after, and the chain of encodings beside them.

    A row has `column`, `before` (or None), `after`, `chain`; the order of the rows is kept.
    """
    bars = [
        {"column": f"{i} {row['column']}", "what": what, "bytes": row[key]}
        for i, row in enumerate(rows)
        for what, key in ((BEFORE, "before"), (AFTER, "after"))
        if row[key] is not None
    ]
    chains = [{"column": f"{i} {row['column']}", "chain": row["chain"]} for i, row in enumerate(rows)]
    order = [f"{i} {row['column']}" for i, row in enumerate(rows)]
    y = alt.Y("column:N", sort=order, title=None, axis=alt.Axis(grid=False, labels=False))
    names = alt.Axis(grid=False, labelColor=_INK, labelExpr="slice(datum.label, indexof(datum.label, ' ') + 1)")
    bar = (
        alt.Chart(alt.Data(values=bars))
        .mark_bar(height={"band": 0.86}, cornerRadiusEnd=2)
        .encode(
            y=y.axis(names),
            x=alt.X("bytes:Q", title="bytes", axis=alt.Axis(format="~s", tickCount=5)),
            yOffset=alt.YOffset("what:N", sort=[BEFORE, AFTER], scale=alt.Scale(paddingInner=0.05)),
            color=alt.Color("what:N", sort=[BEFORE, AFTER], scale=_BEFORE_AFTER),
        )
        .properties(width=430, height=_ROW * len(rows))
    )
    label = (
        alt.Chart(alt.Data(values=chains))
        .mark_text(
            align="left", x=0, fontSize=11, limit=420, color=_SOFT, font="ui-monospace, Menlo, Consolas, monospace"
        )
        .encode(y=y, text="chain:N")
        .properties(width=420, height=_ROW * len(rows))
    )
    return _svg(alt.hconcat(bar, label, spacing=12).resolve_scale(y="independent"), "bytes per column")


def step_bytes(rows: Rows) -> str:
    """A bar per step: `step`, `bytes`, `note`, `ours` (drawn in the accent colour)."""
    room_for_notes = 1.2 * max(row["bytes"] for row in rows)
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("step:N", sort=None, title=None, axis=alt.Axis(grid=False, labelColor=_INK, labelLimit=220)),
        x=alt.X(
            "bytes:Q",
            title="bytes",
            scale=alt.Scale(domain=[0, room_for_notes], nice=False),
            axis=alt.Axis(format="~s", tickCount=6),
        ),
    )
    color = alt.condition("datum.ours", alt.value(SERIES[0]), alt.value("var(--before)"))
    bars = base.mark_bar(height=20, cornerRadiusEnd=2).encode(color=color)
    notes = base.mark_text(align="left", dx=6).encode(text="note:N")
    return _svg((bars + notes).properties(width=760, height=alt.Step(32)), "bytes per step")


def size_against_quality(rows: Rows, names: Sequence[str]) -> str:
    """Bytes (log) against AUC and accuracy, a labelled point per model: `model`, `bytes`, `auc`, `accuracy`.

    `names` gives every model of the report its colour.
    """
    kinds = [("auc", "AUC")] if any(row["auc"] is not None for row in rows) else []
    panels = [_quality(rows, names, key, title) for key, title in (*kinds, ("accuracy", "accuracy"))]
    return _svg(alt.hconcat(*panels, spacing=50).resolve_scale(color="shared"), "size against quality")


def candidates(rows: Rows) -> str:
    """Bytes (log) against score: all that were tried, a line along those that nothing smaller beats."""
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("bytes:Q", title="bytes of the artifact", scale=alt.Scale(type="log", nice=False, padding=40)),
        y=alt.Y("score:Q", title="score on the validation split", scale=alt.Scale(zero=False, padding=24)),
    )
    color = alt.condition("datum.front", alt.value(SERIES[0]), alt.value("var(--before)"))
    points = base.mark_point(filled=True, size=110, opacity=1).encode(color=color)
    front = base.transform_filter("datum.front")
    line = front.mark_line(strokeWidth=2, color=SERIES[0], interpolate="step-after")
    labels = front.mark_text(dy=-14, fontSize=12).encode(text="stage:N")
    return _svg((line + points + labels).properties(width=760, height=280), "candidates")


def training_curves(rows: Rows, names: Sequence[str]) -> str:
    """Loss and AUC (else accuracy) by epoch, a colour per model; validation solid, training dashed."""
    shown = {row["model"] for row in rows}
    models = [name for name in names if name in shown]
    panels = []
    score = ("auc", "AUC") if any(row["auc"] is not None for row in rows) else ("accuracy", "accuracy")
    for key, title in (("loss", "loss"), (score[0], f"{score[1]} on the validation split")):
        values = [row for row in rows if row[key] is not None]
        line = alt.Chart(alt.Data(values=values)).mark_line(
            strokeWidth=2, point={"size": 22, "filled": True}, interpolate="monotone"
        )
        encoded = line.encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(grid=False, tickMinStep=1, format="d")),
            y=alt.Y(f"{key}:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)),
            color=alt.Color("model:N", sort=models, scale=_colors(models, names)),
            strokeDash=alt.StrokeDash(
                "split:N",
                scale=alt.Scale(domain=["validation", "train"], range=[[1, 0], [4, 3]]),
                legend=alt.Legend(symbolType="stroke", symbolStrokeColor=_INK, symbolStrokeWidth=2),
            ),
            detail="model:N",
        )
        panels.append(encoded.properties(width=380, height=260))
    return _svg(alt.hconcat(*panels, spacing=50), "training curves")


def _quality(rows: Rows, names: Sequence[str], key: str, title: str) -> Any:
    models = [row["model"] for row in rows]
    values = [row for row in rows if row[key] is not None]
    decades = _decades([max(1, row["bytes"]) for row in rows])
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            "bytes:Q",
            title="bytes of the model",
            scale=alt.Scale(type="log", domain=[decades[0], decades[-1]]),
            axis=alt.Axis(format="~s", values=decades),
        ),
        y=alt.Y(f"{key}:Q", title=title, scale=alt.Scale(zero=False, padding=24), axis=alt.Axis(tickCount=6)),
    )
    points = base.mark_point(filled=True, size=130, opacity=1).encode(
        color=alt.Color("model:N", sort=models, scale=_colors(models, names), legend=None)
    )
    labels = base.mark_text(dy=-14, fontSize=12).encode(text="model:N")
    return (points + labels).properties(width=380, height=260)


def _decades(sizes: Sequence[int]) -> list[int]:
    """The powers of ten from below the smallest size to above the largest."""
    return [10**power for power in range(len(str(min(sizes))) - 1, len(str(max(sizes))) + 1)]


def _colors(shown: Sequence[str], names: Sequence[str]) -> alt.Scale:
    """The colours of `shown`, which are among `names`; more names than colours share them in turn."""
    color = {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}
    return alt.Scale(domain=list(shown), range=[color[name] for name in shown])


def _svg(chart: Any, title: str) -> str:
    spec = {**chart.to_dict(), "config": _CONFIG}
    svg = vl_convert.vegalite_to_svg(spec)
    return _standalone(svg, title)


def _standalone(svg: str, title: str) -> str:
    """Fits the page's width, has a name for screen readers, and ids of its own.

    A page holds several plots, and Vega numbers its ids on from one plot to the next: they are numbered anew.
    """
    prefix = re.sub(r"\W+", "-", title)
    ids = {name: f"{prefix}-{number}" for number, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))}
    svg = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{ids[match[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{ids.get(match[1], match[1])})", svg)
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)"', svg)
    style = f'style="max-width:{width.group(1)}px" ' if width else ""
    svg = re.sub(r'(<svg[^>]*?)\swidth="[\d.]+"\sheight="[\d.]+"', r"\1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" {style}', 1)
