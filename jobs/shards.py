"""Writes shards: each is one Spark partition, in its total order, turned into one Parquet file by a task.

The bytes depend on the rows and the options alone: rows are gathered into row groups of a stated size
whatever the batches they came in, nothing of time or place is written, and a file is named by the hash of
its content. A task that runs twice writes the same file twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.lake.manifest import encode_schema
from mdlake.lake.store import Store

RESULT = "shard string"  # the schema, for Spark, of what a task returns: a `Shard` as JSON
_IN_MEMORY = 64 << 20
_SHARD: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_page_checksum": True}
_PEERS: dict[str, dict[str, Any]] = {
    "snappy": {"compression": "snappy"},
    "zstd9": {"compression": "zstd", "compression_level": 9},
}


@dataclass(frozen=True)
class Shard:
    """A file that was written, its Arrow schema, and what its rows take elsewhere (0 unless asked for)."""

    split: str
    path: str
    bytes: int
    rows: int
    sha256: str
    schema: str
    arrow_bytes: int
    column_bytes: Sequence[int]  # of each column in the file
    snappy: int = 0
    zstd9: int = 0

    def path_below(self, folder: str) -> str:
        """The path relative to `folder`: that of the split, or "" for the one above."""
        return self.path.removeprefix(f"{folder}/") if folder else self.path


@dataclass(frozen=True)
class ShardWriter:
    """Called by Spark with the record batches of one shard, whose number is their first column.

    `store` is the target; `names` has the split of every shard and the shard's number within it; `columns` are
    the names to write, for Spark calls back with batches only by names without dots.
    """

    store: Store
    names: Sequence[tuple[str, int]]
    columns: Sequence[str]
    row_group_rows: int
    compare: bool

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pa.set_cpu_count(1)
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        if first is None:
            return
        split, number = self.names[first.column(0)[0].as_py()]
        rows = (self._named(batch) for batch in chain([first], filled))
        shard = self._write(split, number, _row_groups(rows, self.row_group_rows))
        yield pa.record_batch({"shard": [json.dumps(asdict(shard))]})

    def _named(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.remove_column(0).rename_columns(list(self.columns))

    def _write(self, split: str, number: int, row_groups: Iterator[pa.Table]) -> Shard:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            sink = _Sink(file)
            peers = {name: _Sink() for name in (_PEERS if self.compare else ())}
            first = next(row_groups)
            footer: list[pq.FileMetaData] = []
            writers = [pq.ParquetWriter(sink, first.schema, metadata_collector=footer, **_SHARD)]
            writers += [pq.ParquetWriter(peer, first.schema, **_PEERS[name]) for name, peer in peers.items()]
            rows = arrow_bytes = 0
            for table in chain([first], row_groups):
                rows, arrow_bytes = rows + table.num_rows, arrow_bytes + table.nbytes
                for writer in writers:
                    writer.write_table(table, row_group_size=table.num_rows)
            for writer in writers:
                writer.close()
            digest = sink.digest.hexdigest()
            path = f"{split}/part-{number:05d}-{digest[:16]}.parquet"
            file.seek(0)
            self.store.put(path, file)
        schema = encode_schema(first.schema)
        columns = column_bytes(first.schema, footer[0])
        sizes = {name: peer.size for name, peer in peers.items()}
        return Shard(split, path, sink.size, rows, digest, schema, arrow_bytes, columns, **sizes)


def column_bytes(schema: pa.Schema, footer: pq.FileMetaData) -> list[int]:
    """Compressed bytes of each column, its nested parts together; parts follow one another in a row group."""
    owners = [index for index, field in enumerate(schema) for _ in range(_leaves(field.type))]
    sizes = [0] * len(schema)
    for group in range(footer.num_row_groups):
        for leaf, owner in enumerate(owners):
            sizes[owner] += footer.row_group(group).column(leaf).total_compressed_size
    return sizes


def _leaves(kind: pa.DataType) -> int:
    if pa.types.is_nested(kind):
        return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields))
    return 1


def _row_groups(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """Tables of exactly `size` rows, the last one fewer, each of one chunk: batches leave no trace."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, size).combine_chunks()
            waiting, rows = table.slice(size).to_batches(), rows - size
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks()


class _Sink(io.RawIOBase):
    """Counts and hashes what is written, and passes it on if there is somewhere to."""

    def __init__(self, file: Any = None) -> None:
        self._file, self.size, self.digest = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.size += view.nbytes
        if self._file is not None:
            self.digest.update(view)
            self._file.write(view)
        return view.nbytes
