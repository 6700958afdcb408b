"""The sizes of a run as a picture: a line for each table, a mark for each codec, in shares of Parquet zstd-9.

python -m bench.plot bench/results/tables-2026-11-22.csv      # draws it again
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import fields
from pathlib import Path

import altair as alt

from bench.goals import of_reference
from bench.measure import Figure
from bench.peers import CODECS, OURS, REFERENCE

COLORS = {
    "mdlake fast": "#fdae6b", "mdlake default": "#f16913", "mdlake max": "#a63603",
    "parquet snappy": "#d9d9d9", "parquet zstd-9": "#969696", "parquet zstd-19": "#525252",
    "parquet searched zstd-19": "#9ecae1", "parquet searched brotli-11": "#3182bd",
    "pcodec + zstd-19": "#756bb1", "vortex compact": "#74c476", "openzl searched": "#006d2c",
}  # fmt: skip


def plot(figures: list[Figure], target: Path) -> None:
    """Draws the figures to `target` (SVG, PNG or HTML), unless none can be set beside Parquet zstd-9."""
    codecs = [codec for codec in CODECS if any(figure.codec == codec for figure in figures)]
    ratios = {codec: of_reference(figures, codec) for codec in codecs}
    rows = [
        {"table": table, "codec": codec, "ratio": ratio, "by": "mdlake" if codec in OURS else "peer"}
        for codec in reversed(codecs)  # ours on top
        for table, ratio in ratios[codec].items()
    ]
    if not rows:
        return
    order = list(dict.fromkeys(figure.table for figure in figures))
    colors = alt.Scale(domain=codecs, range=[COLORS[codec] for codec in codecs])
    ratio = alt.X("ratio:Q", title=f"bytes, as a share of {REFERENCE}", scale=alt.Scale(zero=True))
    table = alt.Y("table:N", sort=order, title=None, axis=alt.Axis(grid=True))
    marks = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, opacity=0.95, stroke="white", strokeWidth=0.5)
    shapes = alt.Scale(domain=["mdlake", "peer"], range=["diamond", "circle"])
    sizes = alt.Scale(domain=["mdlake", "peer"], range=[170, 80])
    chart = marks.encode(
        x=ratio,
        y=table,
        color=alt.Color("codec:N", scale=colors, sort=codecs, title=None),
        shape=alt.Shape("by:N", scale=shapes, title=None, legend=None),
        size=alt.Size("by:N", scale=sizes, legend=None),
        tooltip=["table:N", "codec:N", alt.Tooltip("ratio:Q", format=".3f")],
    ).properties(width=620, height=28 * len(order))  # fmt: skip
    chart.save(str(target))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the sizes of a run.")
    parser.add_argument("results", type=Path, help="a CSV of bench.tables")
    parser.add_argument("--out", type=Path, help="SVG, PNG or HTML; beside the CSV by default")
    options = parser.parse_args()
    plot(load(options.results), options.out or options.results.with_suffix(".svg"))


def load(results: Path) -> list[Figure]:
    """The figures of a CSV that `bench.tables` wrote."""
    kinds = {"int": int, "float": float, "str": str}
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Figure(**{field.name: kinds[str(field.type)](row[field.name]) for field in fields(Figure)}) for row in rows]


if __name__ == "__main__":
    main()
