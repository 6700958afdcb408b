"""The tables of what `bench.models` measured.

python -m bench.model_figures RESULTS.csv ...    # prints them again, of several runs together, and draws them
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.model_plot import plot
from bench.model_rows import Row, kind_of, load, write
from mdlake.shrink.distill.loss import gap_closed


def show(rows: list[Row], console: Console) -> None:
    """Mean and worst over seeds."""
    table = Table(title="float32 bytes over bytes of the file; accuracy on the test split", title_justify="left")
    measured = ("bytes", "x", "x, worst", "accuracy", "lost, points", "lost, worst", "not zero", "MACs")
    for head in ("case", "codec", "seeds", *measured):
        table.add_column(head, justify="left" if head in ("case", "codec") else "right", no_wrap=head == "case")
    for case, codec in dict.fromkeys((row.case, kind_of(row)) for row in rows):
        same = [row for row in rows if row.case == case and kind_of(row) == codec]
        count = len(same)
        lost = [100 * (row.dense_accuracy - row.accuracy) for row in same]
        table.add_row(
            case,
            codec,
            str(count),
            f"{sum(row.bytes for row in same) / count:,.0f}",
            f"{sum(row.x for row in same) / count:.1f}",
            f"{min(row.x for row in same):.1f}",
            f"{100 * sum(row.accuracy for row in same) / count:.2f}",
            f"{sum(lost) / count:.2f}",
            f"{max(lost):.2f}",
            f"{sum(row.nonzero for row in same) / count:,.0f}",
            f"{sum(row.macs for row in same) / count:,.0f}",
        )
    console.print(table)


def show_distilled(rows: list[Row], console: Console) -> None:
    """How much of the way from the student alone to its teacher distillation went, over seeds."""
    table = Table(title="distillation, accuracy on the test split", title_justify="left")
    for head in ("case", "teacher", "student alone", "distilled", "gap closed", "worst"):
        table.add_column(head, justify="left" if head == "case" else "right")
    for case in dict.fromkeys(row.case for row in rows if row.codec == "student distilled"):
        named = [
            {row.codec: row.accuracy for row in rows if row.case == case and row.seed == seed}
            for seed in dict.fromkeys(row.seed for row in rows if row.case == case)
        ]
        seen = [[one[name] for one in named] for name in ("teacher", "student alone", "student distilled")]
        closed = [gap_closed(*three) or 0.0 for three in zip(*seen, strict=True)]
        means = (f"{100 * sum(found) / len(found):.2f}" for found in seen)
        table.add_row(case, *means, f"{sum(closed) / len(closed):.0%}", f"{min(closed):.0%}")
    if table.rows:
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the tables of runs of bench.models, all together.")
    parser.add_argument("results", type=Path, nargs="+", help="CSVs of bench.models")
    parser.add_argument("--out", type=Path, help="a CSV of all of them; the plot goes beside it")
    options = parser.parse_args()
    found = {(row.case, row.seed, row.codec): row for source in options.results for row in load(source)}
    rows = list(found.values())  # of one that was measured twice the last
    console = Console(width=140)
    show(rows, console)
    show_distilled(rows, console)
    if options.out:
        write(rows, options.out)
        plot(rows, options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
