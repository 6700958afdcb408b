"""Reading Parquet sources: their footers for planning, their rows as block rows.

A block row is the rows that become one block per column. Where it begins and ends depends on the source and the
options alone, so that any engine makes the same archive. Memory holds one block row and one batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, TruncatedError, located
from mdlake.lake.dataset import SourceFile
from mdlake.lake.manifest import stored_schema
from mdlake.lake.store import Store, open_store

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_TAIL = 64 << 10
_BATCH_ROWS = 16_384
_COMPARE_BYTES = 64 << 20
_STREAMED_BYTES = 256 << 20
_BUFFER_BYTES = 4 << 20
_FOOTER_THREADS = 8


@dataclass(frozen=True)
class Footer:
    """A source file, what its Parquet footer says, and the SHA-256 of that footer."""

    file: SourceFile
    metadata: Any  # pq.FileMetaData
    schema: pa.Schema
    sha256: str

    @property
    def row_bytes(self) -> float:
        """An estimate of the Arrow bytes of a row."""
        groups = [self.metadata.row_group(i) for i in range(self.metadata.num_row_groups)]
        rows = sum(self.group_rows)
        return sum(group.total_byte_size for group in groups) / rows if rows else 0.0

    @property
    def group_rows(self) -> tuple[int, ...]:
        """The rows of each row group."""
        return tuple(self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups))


@dataclass(frozen=True)
class SourceRows:
    """`rows` rows of a Parquet file from row `first` on; `row_bytes` and `group_rows` as its footer says."""

    store: Store
    path: str
    first: int
    rows: int
    row_bytes: float
    group_rows: tuple[int, ...]


@dataclass(frozen=True)
class Spans:
    """Where rows came from: (URL, number of the first row in that file, number of rows), in order."""

    pieces: list[tuple[str, int, int]]

    def locate(self, at: int) -> tuple[str, int]:
        """The URL and the row in it of row `at`."""
        for url, first, rows in self.pieces:
            if at < rows:
                return url, first + at
            at -= rows
        return (self.pieces[-1][0] if self.pieces else ""), at


class RowStream:
    """The rows of several pieces of files, taken in any numbers, columns chosen by `schema`."""

    def __init__(self, pieces: Sequence[SourceRows], schema: pa.Schema) -> None:
        self._schema = schema
        self._batches = ((piece, *item) for piece in pieces for item in _piece_batches(piece, schema))
        self._held: tuple[SourceRows, int, pa.RecordBatch] | None = None

    def close(self) -> None:
        """Closes the file at hand; for those who stop before the end."""
        self._held = None
        self._batches.close()

    def take(self, rows: int) -> tuple[Spans, list[pa.Array]]:
        """The next rows: where they lie, and an array per column; fewer rows at the end."""
        taken: list[pa.RecordBatch] = []
        spans: list[tuple[str, int, int]] = []
        missing = rows
        while missing and (held := self._held or next(self._batches, None)):
            piece, first, batch = held
            part = batch.slice(0, missing)
            taken.append(part)
            spans.append((piece.store.url_of(piece.path), first, part.num_rows))
            missing -= part.num_rows
            left = batch.slice(part.num_rows)
            self._held = (piece, first + part.num_rows, left) if left.num_rows else None
        return Spans(spans), [join_chunks(chunks) for chunks in _columns(taken, self._schema)]


def read_footers(files: list[SourceFile], storage: Mapping[str, str]) -> list[Footer]:
    """The footers of all files, several at a time: a lake's latency is paid once, not per file."""
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        return list(pool.map(lambda file: _read_footer(file, storage), files))


def read_rows(
    store: Store,
    path: str,
    row_groups: range,
    row_bytes: float,
    batch_bytes: int,
    columns: tuple[str, ...] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of some row groups, in batches of at most about `batch_bytes`; `columns`: names to keep."""
    rows = max(1, min(_BATCH_ROWS, int(batch_bytes / row_bytes) if row_bytes else _BATCH_ROWS))
    with parquet_faults(store.url_of(path)), store.reader(path) as file:
        footer = pq.read_metadata(file)
        largest = max((footer.row_group(i).total_byte_size for i in row_groups), default=0)
        buffer = _BUFFER_BYTES if largest > _STREAMED_BYTES else 0  # 0: each column chunk in one request
        settings = {"pre_buffer": False, "page_checksum_verification": True}  # no reads in the background
        reader = pq.ParquetFile(file, metadata=footer, buffer_size=buffer, **settings)
        names = None if columns is None else list(columns)
        for batch in reader.iter_batches(rows, list(row_groups), names, use_threads=False):
            if names is not None:  # a dotted name also selects a struct's field
                batch = batch.select([i for i, name in enumerate(batch.schema.names) if name in names])
            yield batch


def _piece_batches(piece: SourceRows, schema: pa.Schema) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batches of a piece, each with the number of its first row in the file."""
    groups, skipped = 0, 0
    while groups < len(piece.group_rows) and skipped + piece.group_rows[groups] <= piece.first:
        skipped += piece.group_rows[groups]
        groups += 1
    at, end = skipped, piece.first + piece.rows
    names = tuple(schema.names)
    row_groups = range(groups, len(piece.group_rows))
    for batch in read_rows(piece.store, piece.path, row_groups, piece.row_bytes, _COMPARE_BYTES, names):
        low, high = max(piece.first, at), min(end, at + batch.num_rows)
        if low < high:
            yield low, batch.slice(low - at, high - low)
        at += batch.num_rows
        if at >= end:
            return


def block_rows(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, max_rows: int, max_bytes: int
) -> Iterator[tuple[list[pa.ChunkedArray], int]]:
    """Gathers batches to block rows: (the chunks of each column, the number of rows)."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        while batch.num_rows:
            piece = batch.slice(0, max_rows - rows)
            batch = batch.slice(piece.num_rows)
            held.append(piece)
            rows += piece.num_rows
            size += _bytes(piece)
            if rows == max_rows or size >= max_bytes:
                columns, count = _columns(held, schema), rows
                held, rows, size = [], 0, 0  # before the yield: whoever takes a column alone decides when it goes
                yield columns, count
    if rows:
        columns, held = _columns(held, schema), []
        yield columns, rows


@contextmanager
def parquet_faults(url: str) -> Iterator[None]:
    """Turns what pyarrow raises over damaged Parquet into `CorruptError`."""
    with located(file=url):
        try:
            yield
        except MdlakeError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise CorruptError(f"cannot read this Parquet file: {error}; restore it from a backup") from error


def join_chunks(chunks: pa.ChunkedArray) -> pa.Array:
    """One array of all chunks."""
    if chunks.num_chunks == 1:
        return chunks.chunk(0)
    if pa.types.is_dictionary(chunks.type):
        chunks = chunks.unify_dictionaries()
    joined = chunks.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def _read_footer(file: SourceFile, storage: Mapping[str, str]) -> Footer:
    store = open_store(file.root, storage)
    with parquet_faults(file.url):
        raw = _footer_bytes(store, file)
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + raw))
        schema = stored_schema(pq.read_schema(pa.BufferReader(_MAGIC + raw)))
        return Footer(file, metadata, schema, hashlib.sha256(raw).hexdigest())


def _footer_bytes(store: Store, file: SourceFile) -> bytes:
    """The footer with its length and closing magic."""
    if file.size < 12:
        raise TruncatedError(f"{file.size} bytes are no Parquet file; write it again")
    length = min(_TAIL, file.size)
    tail = store.get_range(file.path, file.size - length, length)
    if tail[-4:] == _ENCRYPTED:
        raise InvalidArgumentError("this Parquet file is encrypted; decrypt it first")
    if tail[-4:] != _MAGIC:
        if store.get_range(file.path, 0, 4) == _MAGIC:
            raise TruncatedError("begins as a Parquet file but has no footer: it is cut; write it again")
        raise InvalidArgumentError("not a Parquet file; convert it to Parquet first")
    needed = int.from_bytes(tail[-8:-4], "little") + 8
    if needed > file.size - 4:
        raise CorruptError(f"the Parquet footer claims {needed} bytes of {file.size}; restore it from a backup")
    if needed > len(tail):
        return store.get_range(file.path, file.size - needed, needed)
    return tail[-needed:]


def _columns(held: list[pa.RecordBatch], schema: pa.Schema) -> list[pa.ChunkedArray]:
    return [pa.chunked_array([batch.column(i) for batch in held], field.type) for i, field in enumerate(schema)]


def _bytes(batch: pa.RecordBatch) -> int:
    """Arrow bytes of a batch; dictionaries are left out, as all batches of a row group share them."""
    return sum(
        column.indices.nbytes if isinstance(column, pa.DictionaryArray) else column.nbytes for column in batch.columns
    )
