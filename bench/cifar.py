"""CIFAR-10 as JPEG files in Parquet, as shards: 45,000 rows to train on, 5,000 for validation, 10,000 for the test.

No package has it: `cifar10_jpeg_train.parquet` and `cifar10_jpeg_test.parquet`, with the columns image (an encoded
image of 32 x 32) and label, have to be at hand. JPEG is lossy, so figures compare only with networks trained on the
same files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

_HELD_OUT, _SEED, _ROW_GROUP = 5000, 0, 5000


def write_shards(folder: Path, source: Path) -> Path:
    """`folder`/train, validation and test with a Parquet file each. Done once."""
    if not (folder / "test").exists():
        train, test = (pq.read_table(source / f"cifar10_jpeg_{split}.parquet") for split in ("train", "test"))
        order = np.random.default_rng(_SEED).permutation(train.num_rows)
        splits = {
            "train": train.take(np.sort(order[_HELD_OUT:])),
            "validation": train.take(np.sort(order[:_HELD_OUT])),
            "test": test,
        }
        for split, table in splits.items():
            (folder / split).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / split / "part-00000.parquet", row_group_size=_ROW_GROUP)
    return folder
