"""An archive as a table: schema and rows from the manifest, blocks fetched when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mdlake.archive.layout import REPAIR, REPAIR_DATA, ArchiveManifest, BlockEntry, DataFile, RowOrder
from mdlake.archive.pruning import Filter, as_expression, filter_columns, keep, passing, surviving
from mdlake.archive.reorder import original_rows, take
from mdlake.block import decode_values
from mdlake.block_row import RowDecoder, ancestors
from mdlake.error_bounds import ErrorBound
from mdlake.errors import CorruptError, InvalidArgumentError, StoreError, TruncatedError, advised, located
from mdlake.lake.faults import is_missing
from mdlake.lake.manifest import read_manifest
from mdlake.lake.store import Store, open_store

Columns = Sequence[str | int] | None
"""Names (all columns of that name) or positions; None: all columns."""


@dataclass(frozen=True)
class Archive:
    """One version of an archive, open for reading."""

    store: Store
    version: int
    manifest: ArchiveManifest

    @staticmethod
    def open(url: str, version: int | None = None, storage: Mapping[str, str] | None = None) -> Archive:
        store = open_store(url, storage)
        with advised(REPAIR):
            version, body = read_manifest(store, version)
        with located(file=store.url):
            return Archive(store, version, ArchiveManifest.from_json(body))

    @property
    def schema(self) -> pa.Schema:
        return self.manifest.schema

    @property
    def num_rows(self) -> int:
        return self.manifest.num_rows

    @property
    def max_error(self) -> dict[str, ErrorBound]:
        """How far the values of some columns may lie from the source's; all others are the source's bit for bit."""
        return {self.schema.field(i).name: bound for i, bound in self.manifest.error_bounds.items()}

    def __repr__(self) -> str:
        return f"Archive({self.store.url!r}, version {self.version}: {self.num_rows} rows, {len(self.schema)} columns)"

    def to_table(self, columns: Columns = None, filter: Filter = None) -> pa.Table:
        """The rows that pass `filter`, in order, as one table.

        Args:
            columns: names or positions of the columns to return; only their blocks are read.
            filter: an Arrow expression or pyarrow's tuples. Block rows in which it cannot hold are not read.

        Raises:
            InvalidArgumentError: an unknown column, a filter that does not fit.
            CorruptError, TruncatedError, UnsupportedVersionError, StoreError: the archive is damaged or gone.
        """
        positions = self.positions(columns)
        batches = list(self.to_batches(columns, filter))
        schema = self._schema_of(positions)
        if not batches:
            return schema.empty_table()
        return pa.Table.from_batches(batches, schema)

    def to_batches(self, columns: Columns = None, filter: Filter = None) -> Iterator[pa.RecordBatch]:
        """As `to_table`, one block row after another, so that memory holds one at a time."""
        positions = self.positions(columns)
        expression = as_expression(filter)
        used = filter_columns(expression, self.schema) if expression is not None else []
        places = [(file, row) for file in self.manifest.files for row in range(len(file.rows))]
        kept = set(range(len(places)))
        if expression is not None:
            grid = [(file.rows[row], file.blocks[row]) for file, row in places]
            kept = surviving(expression, self.schema, used, grid)
        schema = self._schema_of(positions)
        needed = sorted({*positions, *used})
        for number, (file, row) in enumerate(places):
            if number not in kept:
                continue
            arrays = dict(zip(needed, read_blocks(self.store, file, self.schema, row, needed), strict=True))
            batch = _batch([arrays[i] for i in positions], file.rows[row], schema)
            if expression is not None:
                known = pa.schema([self.schema.field(i) for i in used])
                batch = keep(batch, passing(expression, _batch([arrays[i] for i in used], file.rows[row], known)))
            if batch.num_rows:
                yield batch

    def positions(self, columns: Columns) -> list[int]:
        """The positions of the columns asked for, in the order asked for."""
        names = self.schema.names
        if columns is None:
            return list(range(len(names)))
        if isinstance(columns, str):
            raise InvalidArgumentError(f"columns is a list of names, as [{columns!r}], not one name")
        found: list[int] = []
        for wanted in columns:
            if isinstance(wanted, str):
                matches = [i for i, name in enumerate(names) if name == wanted]
            else:
                matches = [wanted] if 0 <= wanted < len(names) else []
            if not matches:
                raise InvalidArgumentError(f"there is no column {wanted!r}; there are {names}")
            found.extend(matches)
        return found

    def _schema_of(self, positions: Sequence[int]) -> pa.Schema:
        return pa.schema([self.schema.field(i) for i in positions], self.schema.metadata)


def read_blocks(store: Store, file: DataFile, schema: pa.Schema, row: int, columns: Sequence[int]) -> list[pa.Array]:
    """The arrays of some columns of block row `row`, and of those only they need, checked against the manifest."""
    if not columns:
        return []
    with data_file_at(store, file), located(row_group=row):
        return _in_order(store, file, row, stored_blocks(store, file, schema, row, columns)[1])


def stored_blocks(
    store: Store, file: DataFile, schema: pa.Schema, row: int, columns: Sequence[int]
) -> tuple[dict[int, memoryview], list[pa.Array]]:
    """The blocks of some columns and of those they need, by position, and the arrays with their rows as stored."""
    entries = file.blocks[row]
    parents = {column: entry.parents for column, entry in enumerate(entries) if entry.parents}
    needed = sorted({column for wanted in columns for column in ancestors(wanted, parents)})
    blocks = dict(zip(needed, _fetch(store, file, [entries[column] for column in needed]), strict=True))
    crcs = {column: entries[column].crc32 for column in needed}
    decoder = RowDecoder(schema, file.rows[row], blocks, crcs, parents)
    return blocks, [_checked(decoder.column(column), entries[column], schema.field(column)) for column in columns]


def _in_order(store: Store, file: DataFile, row: int, arrays: list[pa.Array]) -> list[pa.Array]:
    """The arrays with their rows in the original order, if it was stored."""
    order = file.order(row)
    if order is None or not order.bytes:
        return arrays
    (data,) = _fetch(store, file, [order])
    ranks = decode_values(data, dtype=np.uint32, length=file.rows[row], crc32=order.crc32)
    rows = original_rows(ranks)
    return [take(array, rows) for array in arrays]


@contextmanager
def data_file_at(store: Store, file: DataFile) -> Iterator[None]:
    """Errors in it name the data file and say what to do; one that was cut or is gone is told from damage."""
    with located(file=store.url_of(file.path)), advised(REPAIR_DATA):
        try:
            yield
        except StoreError as error:
            if is_missing(error):
                raise StoreError(f"the archive's data file is gone; {REPAIR_DATA}") from error.__cause__
            _check_size(store, file)
            raise
        except (CorruptError, TruncatedError):
            _check_size(store, file)
            raise


def _fetch(store: Store, file: DataFile, entries: Sequence[BlockEntry | RowOrder]) -> list[memoryview]:
    starts, lengths = [entry.offset for entry in entries], [entry.bytes for entry in entries]
    parts = store.get_ranges(file.path, starts, lengths)
    for entry, part in zip(entries, parts, strict=True):
        if len(part) != entry.bytes:
            raise TruncatedError(f"asked for {entry.bytes} bytes at {entry.offset}, found {len(part)}")
    return parts


def _check_size(store: Store, file: DataFile) -> None:
    found = store.head(file.path).size if file.path else file.bytes
    if found < file.bytes:
        raise TruncatedError(f"the file has {found} bytes, expected {file.bytes}")


def _checked(array: pa.Array, entry: BlockEntry, field: pa.Field) -> pa.Array:
    if array.null_count != entry.nulls:
        with located(column=field.name):
            raise CorruptError(f"the block has {array.null_count} nulls, the manifest says {entry.nulls}")
    return array


def _batch(arrays: list[pa.Array], rows: int, schema: pa.Schema) -> pa.RecordBatch:
    if arrays:
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
    nothing = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.RecordBatch.from_struct_array(nothing).replace_schema_metadata(schema.metadata)
