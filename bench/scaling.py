"""How our time and memory grow: a generated table with 1, 4 and 16 times the rows, then the columns.

    python -m bench.scaling [--efforts fast,default,max] [--rows 20000] [--columns 6] [--times 1,4,16]

The table has groups of six columns that are like what is met: a counter, a measured value, a category, a text that
follows from the category, a sum of two others, and a time. Each size is a process of its own on one core. Prints a view
and writes `bench/results/scaling-<date>.csv`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.compare import MeasurementError
from bench.machine import machine
from bench.measure import Figure, measure_apart, save

RESULTS = Path(__file__).parent / "results"
GROUP = ("key", "value", "category", "label", "total", "time")
SEED = 1


def generate(rows: int, columns: int) -> pa.Table:
    """The first `columns` columns of as many groups as are needed, each with its own random numbers."""
    arrays: dict[str, pa.Array] = {}
    for group in range(-(-columns // len(GROUP))):
        rng = np.random.default_rng((SEED, group))
        value = np.round(50 + np.cumsum(rng.normal(0, 0.2, rows)), 2)
        category = rng.zipf(1.5, rows) % 100
        labels = np.array([f"{prefix}-{i:03d}" for i, prefix in enumerate(rng.choice(["north", "south", "west"], 100))])
        key = np.cumsum(rng.geometric(0.5, rows))
        time = 1_700_000_000_000 + np.cumsum(rng.exponential(500, rows)).astype(np.int64)
        made = (key, value, category, labels[category], key + category, time.astype("datetime64[ms]"))
        arrays.update({f"{name}_{group}": pa.array(data) for name, data in zip(GROUP, made, strict=True)})
    return pa.table(arrays).select(list(arrays)[:columns])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--efforts", default="fast,default,max")
    parser.add_argument("--rows", type=int, default=20_000, help="of the smallest table")
    parser.add_argument("--columns", type=int, default=len(GROUP), help="of the smallest table")
    parser.add_argument("--times", default="1,4,16", help="how many times the rows, then the columns")
    parser.add_argument("--seconds", type=float, default=10, help="up to three runs of each, but no other after that")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which one measurement is given up")
    parser.add_argument("--out", type=Path, help="the CSV, else bench/results/scaling-DATE.csv")
    options = parser.parse_args()
    console = Console(width=110)
    today = datetime.date.today().isoformat()
    console.print(f"{machine()}; {today}")
    times = [int(factor) for factor in options.times.split(",")]
    sizes = dict.fromkeys((options.rows * factor, options.columns) for factor in times)
    sizes.update(dict.fromkeys((options.rows, options.columns * factor) for factor in times))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for rows, columns in sizes:
            path = Path(folder, f"{rows}x{columns}.arrow")
            save(generate(rows, columns), path)
            for effort in options.efforts.split(","):
                try:
                    with console.status(f"{path.stem}: {effort}"):
                        figures.append(measure_apart(path, f"mdlake {effort}", options.seconds, options.limit))
                except MeasurementError as error:
                    console.print(f"[red]{path.stem}, {effort} failed[/]: {escape(str(error))}", highlight=False)
            path.unlink()
    show(figures, console)
    target = options.out or RESULTS / f"scaling-{today}.csv"
    write(figures, target, today)
    console.print(f"written: {target}")


def show(figures: list[Figure], console: Console) -> None:
    """By effort: seconds and memory of each size, and how many times those of the smallest."""
    view = Table(box=box.SIMPLE, title="Time and memory as the table grows", title_justify="left")
    for name in (
        "effort",
        "rows",
        "columns",
        "Arrow",
        "encode s",
        "times",
        "decode s",
        "times",
        "peak",
        "peak / Arrow",
    ):
        view.add_column(name, justify="left" if name == "effort" else "right", no_wrap=True)
    for codec in dict.fromkeys(figure.codec for figure in figures):
        mine = [figure for figure in figures if figure.codec == codec]
        least = mine[0]
        for figure in mine:
            encode, decode = seconds(figure)
            view.add_row(
                codec.removeprefix("mdlake "),
                f"{figure.rows:,}",
                str(figure.columns),
                f"{figure.arrow_bytes / 1e6:.1f} MB",
                f"{encode:.2f}",
                f"{encode / seconds(least)[0]:.1f}",
                f"{decode:.3f}",
                f"{decode / seconds(least)[1]:.1f}",
                f"{figure.peak_bytes / 1e6:.0f} MB",
                f"{figure.peak_bytes / figure.arrow_bytes:.1f}",
            )
        view.add_section()
    console.print(view)


def seconds(figure: Figure) -> tuple[float, float]:
    """What encoding and decoding took."""
    return figure.arrow_bytes / 1e6 / figure.encode_mb_s, figure.arrow_bytes / 1e6 / figure.decode_mb_s


def write(figures: list[Figure], target: Path, today: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(
            file, ["date", "machine", *Figure.__dataclass_fields__], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows({"date": today, "machine": machine(), **asdict(figure)} for figure in figures)


if __name__ == "__main__":
    main()
