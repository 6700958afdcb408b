"""One codec on one table, in its own process: size, speeds on one core, memory, and whether it gave the table back.

    python -m bench.measure TABLE.arrow "mdlake fast" [--seconds 10]

Run by `bench.tables` and `bench.scaling`, which read the line of JSON that it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from bench.compare import MeasurementError, differences
from bench.machine import ONE_THREAD, SYSTEM_POOL, forget_peak, one_core, peak_resident, resident
from bench.peers import CODECS

WARM_ROWS, REPEATS = 2000, 3


@dataclass(frozen=True)
class Figure:
    """What was measured. Speeds: MB of Arrow memory a second, the best run. Memory: the most that the process held
    while it encoded, the table included, beyond what it held before it had the table. `remarks`: what was not kept.
    """

    table: str
    codec: str
    rows: int
    columns: int
    arrow_bytes: int
    bytes: int
    encode_mb_s: float
    decode_mb_s: float
    peak_bytes: int
    remarks: str


def save(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all().combine_chunks()


def measure_apart(path: Path, codec: str, seconds: float, limit: float) -> Figure:
    """`measure` in a fresh process, ended after `limit` seconds."""
    command = [sys.executable, "-m", "bench.measure", str(path), codec, "--seconds", str(seconds)]
    environment = {**os.environ, **ONE_THREAD, **SYSTEM_POOL}
    try:
        run = subprocess.run(command, capture_output=True, env=environment, timeout=limit, text=True)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"took more than {limit:.0f} s") from None
    if run.returncode:
        errors = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt|Panic)\w*\b.*$", run.stderr, re.MULTILINE)
        raise MeasurementError(errors[-1] if errors else f"ended with status {run.returncode}: {run.stderr[-200:]}")
    return Figure(**json.loads(run.stdout.splitlines()[-1]))


def measure(path: Path, name: str, seconds: float) -> Figure:
    """Warms up on a few rows, then encodes and decodes up to three times, but no more once `seconds` have passed."""
    codec = CODECS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few = read(path).slice(0, WARM_ROWS)
        save(few, folder / "few.arrow")
        few = read(folder / "few.arrow")  # the rest is free again
        codec.write(few, folder / "warm")  # loads or compiles what the codec needs
        codec.read(folder / "warm")
        before = resident()
        forget_peak()
        table = read(path)
        targets = [folder / str(i) for i in range(REPEATS)]
        encoded = [_seconds(lambda: codec.write(table, targets[0]))]
        peak = max(peak_resident() - before, 0)
        while len(encoded) < REPEATS and sum(encoded) < seconds:
            target = targets[len(encoded)]
            encoded.append(_seconds(lambda target=target: codec.write(table, target)))
        written = targets[0]
        decoded = [_seconds(lambda: codec.read(written))]
        while len(decoded) < REPEATS and sum(decoded) < seconds:
            decoded.append(_seconds(lambda: codec.read(written)))
        remarks = [*codec.remarks, *differences(table, codec.read(written))]
        size = sum(file.stat().st_size for file in [written, *written.rglob("*")] if file.is_file())
        arrow, mb = table.nbytes, table.nbytes / 1e6
        return Figure(path.stem, name, table.num_rows, table.num_columns, arrow, size, mb / min(encoded),
                      mb / min(decoded), peak, "; ".join(remarks))  # fmt: skip


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="One codec on one table.")
    parser.add_argument("table", type=Path, help="an Arrow file")
    parser.add_argument("codec", choices=CODECS)
    parser.add_argument("--seconds", type=float, default=10, help="no further run after that")
    options = parser.parse_args()
    one_core()
    print(json.dumps(asdict(measure(options.table, options.codec, options.seconds))))


if __name__ == "__main__":
    main()
