"""Speed and size of each entropy coder on one core, beside peers in the same run.

    python -m bench.coders [--count 2000000] [--seconds 1.0]

Peers: Zstandard level 1, and constriction's range-ANS if that package is installed. Prints a table and
writes bench/results/coders-DATE.csv. Bits per symbol count every byte of the payload; the entropy is of
order 0. Times are the best of the repetitions that fit the seconds given, after one that compiles.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.machine import machine
from mdlake.coding import CODERS, Coder, ZstdCoder
from mdlake.coding.coder import symbol_dtype

HERE = Path(__file__).resolve().parent


class ConstrictionCoder:
    """The peer's stack coder with a static categorical model; its table is not counted."""

    name = "constriction ANS"
    max_alphabet = 4096

    def __init__(self, module: Any) -> None:
        self._stream = module.stream

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        counts = np.bincount(symbols, minlength=alphabet)
        self._model = self._stream.model.Categorical(counts / counts.sum(), perfect=False)
        coder = self._stream.stack.AnsCoder()
        coder.encode_reverse(symbols.astype(np.int32), self._model)
        return coder.get_compressed().tobytes()

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        words = np.frombuffer(data, np.uint32).copy()
        return self._stream.stack.AnsCoder(words).decode(self._model, count)


def samples(count: int) -> dict[str, tuple[np.ndarray, int]]:
    rng = np.random.default_rng(0)

    def draw(weights: np.ndarray) -> tuple[np.ndarray, int]:
        chosen = rng.choice(weights.size, size=count, p=weights / weights.sum())
        return chosen.astype(symbol_dtype(weights.size)), weights.size

    source = b"".join(path.read_bytes() for path in sorted((HERE.parent / "lib").rglob("*.py")))
    text = np.frombuffer((source * (count // len(source) + 1))[: min(count, len(source))], np.uint8)
    walk = (np.cumsum(rng.integers(-2, 3, count)) % 200).astype(np.uint8)
    return {
        "geometric 64": draw(0.9 ** np.arange(64)),
        "uniform 256": draw(np.ones(256)),
        "bits 5 %": draw(np.array([0.95, 0.05])),
        "zipf 1000": draw(1 / np.arange(1, 1001)),
        "random walk": (walk, 200),
        "our source": (text, 256),
    }


def entropy(symbols: np.ndarray) -> float:
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / symbols.size
    return float(-(shares * np.log2(shares)).sum())


def best_time(work: Callable[[], object], seconds: float) -> float:
    work()
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def measure(coder: Coder, symbols: np.ndarray, alphabet: int, seconds: float) -> tuple[float, float, float]:
    """Msym/s of encoding and of decoding, and bits per symbol."""
    payload = coder.encode(symbols, alphabet)
    decoded = coder.decode(payload, symbols.size, alphabet)
    if not np.array_equal(decoded, symbols):
        raise SystemExit(f"{coder.name} does not give back what it was given")
    encode = best_time(lambda: coder.encode(symbols, alphabet), seconds)
    decode = best_time(lambda: coder.decode(payload, symbols.size, alphabet), seconds)
    return symbols.size / encode / 1e6, symbols.size / decode / 1e6, 8 * len(payload) / symbols.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=2_000_000, help="symbols of each sample")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    options = parser.parse_args()
    console = Console()
    peers: list[tuple[str, Coder]] = [("zstd level 1", ZstdCoder(level=1))]
    if importlib.util.find_spec("constriction"):
        peers.append(("constriction ANS", ConstrictionCoder(importlib.import_module("constriction"))))
    else:
        console.print("constriction is not installed: its figures are left out (pip install constriction)")
    coders = [(name, coder) for name, coder in CODERS.items() if name != "raw"] + peers
    title = "Millions of symbols per second, and bits per symbol, beside the entropy of order 0"
    table = Table("sample", "coder", "encode", "decode", "bits", "entropy", title=title)
    rows = []
    for sample, (symbols, alphabet) in samples(options.count).items():
        for name, coder in track(coders, description=sample, console=console, transient=True):
            if alphabet <= coder.max_alphabet:
                encode, decode, bits = measure(coder, symbols, alphabet, options.seconds)
                figures = f"{encode:.1f}", f"{decode:.1f}", f"{bits:.4f}", f"{entropy(symbols):.4f}"
                rows.append((sample, symbols.size, alphabet, name, *figures))
                table.add_row(sample, name, *figures)
        table.add_section()
    console.print(table)
    today = datetime.date.today().isoformat()
    target = HERE / "results" / f"coders-{today}.csv"
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sample", "symbols", "alphabet", "coder", "encode_msym_s", "decode_msym_s",
                         "bits_per_symbol", "entropy", "date", "machine"))  # fmt: skip
        writer.writerows((*row, today, machine()) for row in rows)
    console.print(f"written: {target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
