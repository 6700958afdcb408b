"""What another order of rows saves: each table in its order, reversibly reordered, and with its order given up.

    python -m bench.reorder [--tables flights,diamonds] [--efforts fast,default] [--rows 100000]

Bytes of whole archives; every archive is verified against the table. Prints a table and writes
build/bench/reorder-DATE.csv.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import mdlake
from bench import data
from bench.machine import machine
from bench.tables import PARTS, chosen
from mdlake.archive.inspect import inspect
from mdlake.archive.options import REORDERS, InspectOptions, VerifyOptions
from mdlake.archive.verify import verify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="flights,weather,diamonds,lineitem", help="with commas")
    parser.add_argument("--efforts", default="fast,default", help="with commas")
    parser.add_argument("--rows", type=int, default=100_000, help="only the first rows of each table")
    options = parser.parse_args()
    console, today, rows = Console(width=120), datetime.date.today().isoformat(), []
    table = Table("table", "effort", "reorder", "bytes", "of it the order", "of none", "sorted by", "seconds")
    for name in chosen(options.tables, data.TABLES):
        for effort in options.efforts.split(","):
            none = 0
            for reorder in REORDERS:
                size, order, columns, seconds = measure(name, options.rows, effort, reorder)
                none = none or size
                rows.append((name, options.rows, effort, reorder, size, order, columns, seconds, today, machine()))
                figures = f"{size:,}", f"{order:,}", f"{size / none:.3f}", columns, f"{seconds:.1f}"
                table.add_row(name, effort, reorder, *figures)
            table.add_section()
    console.print(table)
    PARTS.mkdir(parents=True, exist_ok=True)
    target = PARTS / f"reorder-{today}.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("table", "rows", "effort", "reorder", "bytes", "order_bytes", "sorted_by", "seconds", "date",
                         "machine"))  # fmt: skip
        writer.writerows(rows)
    console.print(f"written: {target}")


def measure(name: str, rows: int, effort: str, reorder: str) -> tuple[int, int, str, float]:
    """Bytes of the archive, those of the stored order, the columns sorted by, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        source, archive = Path(folder, "source.parquet"), Path(folder, "archive")
        pq.write_table(data.load(name, rows), source)
        start = time.perf_counter()
        report = mdlake.encode(source, archive, effort, reorder=reorder)
        seconds = time.perf_counter() - start
        checked = verify(VerifyOptions(str(archive), str(source)))
        if not checked.ok:
            raise SystemExit(f"{name}, {effort}, {reorder}: {checked.difference}")
        found = inspect(InspectOptions(str(archive)))
        columns = ", ".join(found.orders[0][0]) if found.orders else ""
        return report.archive_bytes, found.order_bytes, columns, seconds


if __name__ == "__main__":
    main()
