"""Tables: our archives beside Parquet, in one run on one machine, on the same rows.

    python -m bench.tables [--parquet FILE ...] [--repeat 3]

For each table and format: bytes of everything that is written (for an archive: blocks, manifest and all), encode and
decode speed in MB of Arrow memory a second on one core, and the peak memory of a process that encodes. Prints a table
and writes `bench/results/tables-<date>.csv`. Without `--parquet` the table is NYC flights 2013 from PyPI.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from bench.flights import flights

RESULTS = Path(__file__).parent / "results"
PARQUET = {
    "parquet snappy": {"compression": "snappy"},
    "parquet zstd-9": {"compression": "zstd", "compression_level": 9},
    "parquet zstd-19": {"compression": "zstd", "compression_level": 19},
}
EFFORTS = ("fast", "default", "max")


@dataclass(frozen=True)
class Figure:
    """One format on one table: bytes written, MB/s of Arrow memory, memory of writing beyond a start."""

    table: str
    format: str
    rows: int
    arrow_bytes: int
    bytes: int
    encode_mb_s: float
    decode_mb_s: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parquet", nargs="*", default=[], help="Parquet files to measure instead of flights")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each measurement; the fastest counts")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(_peak_here(*arguments.peak))
        return
    one_core()
    with tempfile.TemporaryDirectory() as folder:
        figures = [figure for path in _tables(arguments.parquet, folder) for figure in _measure(path, arguments.repeat)]
    _print(figures)
    _save(figures)


def one_core() -> None:
    """Pins this process to one core, and every library to one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def write(format_: str, table: pa.Table, target: Path) -> None:
    """Writes a table in a format of `PARQUET`, or as an archive of one of `EFFORTS`."""
    if format_ in PARQUET:
        pq.write_table(table, target, **PARQUET[format_])
    else:
        import mdlake

        mdlake.encode(table, str(target), effort=format_.removeprefix("mdlake "))


def read(format_: str, target: Path) -> pa.Table:
    if format_ in PARQUET:
        return pq.read_table(target)
    import mdlake

    return mdlake.open(str(target)).to_table()


def _tables(paths: list[str], folder: str) -> list[Path]:
    if paths:
        return [Path(path) for path in paths]
    path = Path(folder, "flights.parquet")
    pq.write_table(flights(), path)
    return [path]


def _measure(path: Path, repeat: int) -> list[Figure]:
    table = pq.read_table(path).combine_chunks()
    figures = []
    for format_ in (*PARQUET, *(f"mdlake {effort}" for effort in EFFORTS)):
        with tempfile.TemporaryDirectory() as folder:
            write(format_, table.slice(0, 1000), Path(folder, "warm"))  # compiles kernels outside the timing
            read(format_, Path(folder, "warm"))
            targets = [Path(folder, str(i)) for i in range(repeat)]
            encode = min(_seconds(lambda t=target: write(format_, table, t)) for target in targets)  # noqa: B023
            decode = min(_seconds(lambda t=target: read(format_, t)) for target in targets)  # noqa: B023
            if not read(format_, targets[0]).equals(table):
                raise SystemExit(f"{format_} did not give {path.stem} back")
            size = sum(file.stat().st_size for file in [targets[0], *targets[0].rglob("*")] if file.is_file())
            peak = _peak(path, format_, folder)
        figures.append(
            Figure(path.stem, format_, table.num_rows, table.nbytes, size,
                   table.nbytes / encode / 1e6, table.nbytes / decode / 1e6, peak)
        )  # fmt: skip
    return figures


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _peak(path: Path, format_: str, folder: str) -> int:
    """Peak resident bytes of a fresh process that writes the file in this format, beyond one that writes 1000 rows."""
    little = Path(folder, "little.parquet")
    pq.write_table(pq.read_table(path).slice(0, 1000), little)
    command = [sys.executable, "-m", "bench.tables", "--peak", format_]
    pool = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}  # as the mdlake command has it
    runs = [
        subprocess.run([*command, str(source)], check=True, capture_output=True, env=pool) for source in (path, little)
    ]
    return int(runs[0].stdout) - int(runs[1].stdout)


def _peak_here(format_: str, path: str) -> int:
    one_core()
    with tempfile.TemporaryDirectory() as folder:
        if format_ in PARQUET:
            write(format_, pq.read_table(path), Path(folder, "target"))
        else:
            import mdlake

            mdlake.encode(path, str(Path(folder, "target")), effort=format_.removeprefix("mdlake "))
    return peak_resident()


def peak_resident() -> int:
    """The most memory this process has held, bytes; Linux also counts what a parent held before the fork, but here."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _print(figures: list[Figure]) -> None:
    view = Table(box=box.SIMPLE, caption="speeds in MB of Arrow memory a second, one core; memory beyond a bare start")
    for name in ("table", "format", "bytes", "/ zstd-9", "encode", "decode", "memory / Arrow"):
        view.add_column(name, justify="left" if name in ("table", "format") else "right", no_wrap=True)
    reference = {figure.table: figure.bytes for figure in figures if figure.format == "parquet zstd-9"}
    for figure in figures:
        view.add_row(
            figure.table,
            figure.format,
            f"{figure.bytes:,}",
            f"{figure.bytes / reference[figure.table]:.3f}",
            f"{figure.encode_mb_s:.1f}",
            f"{figure.decode_mb_s:.0f}",
            f"{figure.peak_bytes / figure.arrow_bytes:.1f}",
        )
    Console(width=100).print(view)


def _save(figures: list[Figure]) -> None:
    RESULTS.mkdir(exist_ok=True)
    today = datetime.date.today().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    with open(RESULTS / f"tables-{today}.csv", "w", newline="") as file:
        rows = [{"date": today, "machine": machine, **asdict(figure)} for figure in figures]
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
