"""What `bench.models` measured: rows, their CSV, and the tables of them.

python -m bench.model_figures RESULTS.csv ...    # prints them again, of several runs together, and draws them
"""

from __future__ import annotations

import argparse
import csv
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mdlake.shrink.distill.loss import gap_closed


@dataclass(frozen=True)
class Row:
    """One network in one form. `accuracy`: on the test split, of the weights as they come back.

    `dense_accuracy`: that of the network before it was made small or, of a student, of it trained without a teacher.
    """

    case: str
    seed: int
    codec: str
    bytes: int
    x: float
    accuracy: float
    dense_accuracy: float
    parameters: int
    nonzero: int
    macs: int


def write(rows: list[Row], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def load(source: Path) -> list[Row]:
    kinds = {"int": int, "float": float, "str": str}
    with source.open(newline="") as file:
        return [
            Row(**{field.name: kinds[str(field.type)](row[field.name]) for field in fields(Row)})
            for row in csv.DictReader(file)
        ]


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


def kind_of(row: Row) -> str:
    """The codec without the step or the bits that were best for this seed."""
    return re.sub(r" (qp -?\d+|int\d|fp32|bf16)(?=, of )", "", row.codec)


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
        from bench.model_plot import plot  # which builds on this module

        write(rows, options.out)
        plot(rows, options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
