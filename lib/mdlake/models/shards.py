"""A split of the shards as units of work: row groups, block rows of an archive, or parts of these where they are few.

Reading prunes columns and holds one row group at a time. Teacher outputs lie in files of the same names
and row groups beside the shards, so a unit names rows in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.errors import CorruptError, InvalidArgumentError, located
from mdlake.lake.store import Store


@dataclass(frozen=True)
class Unit:
    """The rows `part`, `part + parts`, `part + 2 parts`, ... of one row group."""

    file: int
    row_group: int
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Shards:
    """The Parquet files of one split, and how many rows each of their row groups has."""

    store: Store
    files: tuple[str, ...]
    sizes: tuple[int, ...]
    row_groups: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        return sum(map(sum, self.row_groups))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, as the first file has them."""
        if not self.files:
            return ()
        with located(file=self.store.url_of(self.files[0])), open_parquet(self.store, self.files[0]) as parquet:
            return tuple(parquet.schema_arrow.names)

    @property
    def fingerprint(self) -> list[list[object]]:
        """What the content is known by: names (which ingest makes from content) and sizes."""
        return [[file, size] for file, size in zip(self.files, self.sizes, strict=True)]

    def units(self, at_least: int = 1) -> list[Unit]:
        """All units in file order; large row groups are parted so that there are about `at_least` units."""
        target = max(1, self.rows / at_least)
        return [
            Unit(file, index, part, parts)
            for file, sizes in enumerate(self.row_groups)
            for index, rows in enumerate(sizes)
            for parts in [max(1, ceil(rows / target)) if at_least > 1 else 1]
            for part in range(parts)
        ]

    def rows_of(self, unit: Unit) -> int:
        return len(range(unit.part, self.row_groups[unit.file][unit.row_group], unit.parts))

    def units_of(self, file: int) -> list[Unit]:
        return [Unit(file, index) for index in range(len(self.row_groups[file]))]

    def read(self, unit: Unit, columns: Sequence[str]) -> pa.Table:
        """The unit's rows of the named columns, in the order of the row group."""
        table = self._read(unit.file, unit.row_group, columns)
        if unit.parts == 1:
            return table
        return table.take(pa.array(range(unit.part, table.num_rows, unit.parts), pa.int64()))

    def _read(self, file: int, row_group: int, columns: Sequence[str]) -> pa.Table:
        path = self.files[file]
        with located(file=self.store.url_of(path), row_group=row_group):
            return read_row_group(self.store, path, row_group, columns)


def read_row_group(store: Store, path: str, row_group: int, columns: Sequence[str]) -> pa.Table:
    with open_parquet(store, path) as parquet:
        check_columns(parquet, columns)
        try:
            return parquet.read_row_group(row_group, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptError(f"the row group cannot be read: {error}") from error


def check_columns(parquet: pq.ParquetFile, columns: Sequence[str]) -> None:
    names = parquet.schema_arrow.names
    for column in columns:
        if column not in names:
            raise InvalidArgumentError(f"this file has no such column; it has {', '.join(names)}", column=column)


def open_parquet(store: Store, path: str) -> pq.ParquetFile:
    source = store.reader(path)
    try:
        return pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"not a Parquet file: {error}") from error
