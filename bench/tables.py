"""Tables: our archives beside the peers, in one run on one machine, on the same rows.

    make bench ARGS="--tables flights,weather --codecs 'mdlake,parquet zstd-9' --rows 20000"

For each table (`data.py`) and codec (`peers.py`), in a process of its own on one core (`measure.py`): bytes of
everything that is written (of an archive: data files and manifest), encode and decode speed, memory. Every codec has to
give the table back. Prints a view of each table, the means and the goals (`goals.py`), and writes the figures and a
plot of them to `bench/results/tables-<date>`, or to `build/bench/` if only a part was run.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.markup import escape

from bench import data
from bench.compare import MeasurementError
from bench.machine import machine
from bench.measure import Figure, measure_apart, save
from bench.peers import CODECS, missing
from bench.plot import plot
from bench.views import show, summarize

RESULTS = Path(__file__).parent / "results"
PARTS = RESULTS.parents[1] / "build" / "bench"


def main() -> None:
    options = parse()
    console = Console(width=120)
    lost: list[str] = []
    codecs = present(chosen(options.codecs, CODECS), lost, console)
    today = datetime.date.today().isoformat()
    part = options.rows or options.tables or options.codecs
    target = options.out or (PARTS if part else RESULTS) / f"tables-{today}.csv"
    console.print(f"{machine()}; Arrow {pa.__version__}; {today}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen(options.tables, data.TABLES):
            path = Path(folder, f"{name}.arrow")
            try:
                table = data.load(name, options.rows)
            except (FileNotFoundError, ImportError) as error:
                console.print(f"{name} is left out: {error}")
                continue
            save(table, path)
            console.print(f"\n[bold]{name}[/]: {data.TABLES[name].about}; {table.num_rows:,} rows, "
                          f"{table.num_columns} columns, {table.nbytes:,} bytes of Arrow memory")  # fmt: skip
            del table
            measured = run(path, codecs, options, lost, console)
            figures.extend(measured)
            show(measured, console)
            path.unlink()
            write(figures, target, today)
    if figures:
        summarize(figures, lost, console)
        plot(figures, target.with_suffix(".svg"))
        console.print(f"written: {target} and {target.with_suffix('.svg').name}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", help=f"some of {', '.join(data.TABLES)}")
    parser.add_argument("--codecs", help=f"beginnings of names, with commas, of {', '.join(CODECS)}")
    parser.add_argument("--rows", type=int, help="only the first rows of each table")
    parser.add_argument("--seconds", type=float, default=10, help="up to three runs of each, but no other after that")
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which one measurement is given up")
    parser.add_argument("--out", type=Path, help="the CSV; the plot goes beside it")
    return parser.parse_args()


def chosen(names: str | None, known: Iterable[str]) -> list[str]:
    """The known names that begin with one of those given, all if none is."""
    if names is None:
        return list(known)
    wanted = tuple(name.strip() for name in names.split(","))
    found = [name for name in known if name.startswith(wanted)]
    unknown = [name for name in wanted if not any(other.startswith(name) for other in found)]
    if unknown:
        raise SystemExit(f"not known: {', '.join(unknown)}; there are {', '.join(known)}")
    return found


def present(codecs: list[str], lost: list[str], console: Console) -> list[str]:
    """Without the peers that are not installed, which are named and added to `lost`."""
    absent = {codec: reason for codec in codecs if (reason := missing(codec))}
    for codec, reason in absent.items():
        console.print(f"[red]{codec} is missing[/]: {escape(reason)}")
        lost.append(f"{codec} everywhere")
    return [codec for codec in codecs if codec not in absent]


def run(path: Path, codecs: list[str], options: argparse.Namespace, lost: list[str], console: Console) -> list[Figure]:
    """The figures of one table; a codec that fails is named and added to `lost`, and the run goes on."""
    figures = []
    for codec in codecs:
        try:
            with console.status(f"{path.stem}: {codec}"):
                figures.append(measure_apart(path, codec, options.seconds, options.limit))
        except MeasurementError as error:
            console.print(f"  [red]{codec} failed[/]: {escape(str(error))}", highlight=False)
            lost.append(f"{codec} on {path.stem}")
    return figures


def write(figures: list[Figure], target: Path, today: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"date": today, "machine": machine(), **asdict(figure)} for figure in figures]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0] if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
