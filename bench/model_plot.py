"""The networks of a run as a picture: for each case how small against how good, a mark for each codec."""

from __future__ import annotations

from pathlib import Path

import altair as alt

from bench.model_rows import Row, kind_of

OURS, REST = "mdlake", "others"
_COLORS = {
    "mdlake": "#a63603",
    "nncodec, of dense": "#9ecae1",
    "nncodec, of ours": "#3182bd",
    "Deep Compression storage, of ours": "#756bb1",
    "linear + zstd-19, of dense": "#74c476",
    "bf16 + zstd-19, of dense": "#bdbdbd",
    "zstd-19, of ours": "#636363",
}


def plot(rows: list[Row], target: Path) -> None:
    """Draws the mean over seeds to `target` (SVG, PNG or HTML): x on a logarithmic axis, accuracy on the test split."""
    marks = []
    for case, codec in dict.fromkeys((row.case, kind_of(row)) for row in rows):
        same = [row for row in rows if row.case == case and kind_of(row) == codec]
        if codec in _COLORS:
            marks.append(
                {
                    "case": case,
                    "codec": codec,
                    "x": sum(row.x for row in same) / len(same),
                    "accuracy": 100 * sum(row.accuracy for row in same) / len(same),
                    "dense": 100 * sum(row.dense_accuracy for row in same) / len(same),
                    "by": OURS if codec == OURS else REST,
                }
            )
    if not marks:
        return
    base = alt.Chart().encode(
        x=alt.X("x:Q", scale=alt.Scale(type="log"), title="float32 bytes over bytes of the file"),
    )
    points = base.mark_point(filled=True, opacity=0.95, stroke="white", strokeWidth=0.5).encode(
        y=alt.Y("accuracy:Q", scale=alt.Scale(zero=False), title="accuracy on the test split, %"),
        color=alt.Color("codec:N", scale=alt.Scale(domain=list(_COLORS), range=list(_COLORS.values())), title=None),
        shape=alt.Shape("by:N", scale=alt.Scale(domain=[OURS, REST], range=["diamond", "circle"]), legend=None),
        size=alt.Size("by:N", scale=alt.Scale(domain=[OURS, REST], range=[200, 90]), legend=None),
        tooltip=["codec:N", alt.Tooltip("x:Q", format=".1f"), alt.Tooltip("accuracy:Q", format=".2f")],
    )
    whole = base.mark_rule(strokeDash=[4, 3], color="#969696").encode(x=alt.X(), y=alt.Y("dense:Q"))
    chart = alt.layer(whole, points, data=alt.Data(values=marks)).properties(width=260, height=170)
    chart.facet(facet=alt.Facet("case:N", title=None), columns=3).resolve_scale(x="independent", y="independent").save(
        str(target)
    )
