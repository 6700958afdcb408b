"""Data files: Parquet whose cells are blocks, one Parquet row group per block row.

Plain, uncompressed, with page checksums and nothing else: any Parquet reader lists the blocks, while ours
goes straight to a block's bytes, whose place, length and CRC-32 the manifest has. So a damaged footer can
neither crash a reader nor swap two blocks.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.archive.choosing import shortest_row
from mdlake.archive.layout import DATA_FOLDER, BlockEntry, RowOrder
from mdlake.archive.options import EncodeOptions
from mdlake.archive.source import join_chunks
from mdlake.explanation import Explanation, Watcher
from mdlake.lake.store import Store

_IN_MEMORY = 64 << 20
_PIECE = 4 << 20


def cell_names(names: Sequence[str]) -> list[str]:
    """Names for the columns of blocks: Parquet tools stumble over equal names and names that differ by case."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}~{number}"
        taken.add(candidate.lower())
        unique.append(candidate)
    return unique


@dataclass
class DataFileWriter:
    """Encodes block rows into one data file, held in memory while it is small and on disk when it is not.

    Where the order of rows is stored, its block lies in the first column's cell, before that column's. `watcher`: says
    why each block is so; `explained` then has that, by block row.
    """

    schema: pa.Schema
    options: EncodeOptions
    file: IO[bytes]
    watcher: Watcher | None = None
    rows: list[int] = field(default_factory=list)
    blocks: list[list[BlockEntry]] = field(default_factory=list)
    orders: list[RowOrder | None] = field(default_factory=list)
    explained: list[tuple[Explanation, ...]] = field(default_factory=list)
    _parquet: pq.ParquetWriter | None = None

    def add(self, columns: list[pa.ChunkedArray], rows: int) -> None:
        """Encodes one block row. Takes the columns out of the list, so that each is freed when it is encoded."""
        arrays = [join_chunks(columns.pop(0)) for _ in self.schema]
        row = shortest_row(self.schema, arrays, self.options, self.watcher)
        self.rows.append(rows)
        self.blocks.append(row.entries)
        self.orders.append(row.order)
        self.explained.append(row.explained)
        if row.blocks:
            self._write([row.order_block + row.blocks[0], *row.blocks[1:]])

    def finish(self) -> tuple[list[list[BlockEntry]], int, str]:
        """Closes the file: its blocks with their offsets, its bytes, its SHA-256. (.., 0, "") if it is empty."""
        if self._parquet is None:
            return self.blocks, 0, ""
        self._parquet.close()
        size = self.file.tell()
        self._place(pq.read_metadata(self.file))
        self.file.seek(0)
        digest = hashlib.sha256()
        while piece := self.file.read(_PIECE):
            digest.update(piece)
        return self.blocks, size, digest.hexdigest()

    def put(self, store: Store, sha256: str) -> str:
        """Writes the file to the store under its content's name."""
        path = f"{DATA_FOLDER}/{sha256[:32]}.parquet"
        self.file.seek(0)
        store.put(path, self.file)
        return path

    def _write(self, encoded: list[bytes]) -> None:
        if self._parquet is None:
            names = cell_names(self.schema.names)
            cells = pa.schema([pa.field(name, pa.large_binary(), nullable=False) for name in names])
            self._parquet = _parquet_writer(self.file, cells)
        cells = self._parquet.schema
        arrays = [pa.array([data], pa.large_binary()) for data in encoded]
        self._parquet.write_table(pa.Table.from_arrays(arrays, schema=cells))

    def _place(self, footer: Any) -> None:
        """A plain page ends with its only value, so a block is the last bytes of its column chunk."""
        for row, entries in enumerate(self.blocks):
            for column, entry in enumerate(entries):
                chunk = footer.row_group(row).column(column)
                end = chunk.data_page_offset + chunk.total_compressed_size
                entries[column] = replace(entry, offset=end - entry.bytes)
            if (order := self.orders[row]) and order.bytes:
                self.orders[row] = replace(order, offset=entries[0].offset - order.bytes)


@contextmanager
def data_file_writer(schema: pa.Schema, options: EncodeOptions, explain: bool = False) -> Iterator[DataFileWriter]:
    """A writer of one data file; its scratch space is gone afterwards."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as scratch:
        yield DataFileWriter(schema, options, scratch, Watcher(schema.names) if explain else None)


def _parquet_writer(file: IO[bytes], schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        schema,
        compression="NONE",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )
