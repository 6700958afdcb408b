"""What an archive's manifest says, as dataclasses, and how that is spelled in JSON.

Per data file the numbers of its blocks are kept metric by metric (`bytes[block row][column]`, ...): the
manifest is charged to the archive, so it has to be short. FORMAT.md, section "Archive", is the contract.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from mdlake.error_bounds import ErrorBound, error_bound
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.lake.manifest import FORMAT, IN_ORDER, decode_schema, encode_schema

DATA_FOLDER = "data"
_DATA_PATH = re.compile(rf"{DATA_FOLDER}/[0-9a-f]{{32}}\.parquet")
REPAIR = "delete the archive and encode again, or restore the file from a backup"
REPAIR_DATA = "encode the source again with --overwrite, or restore the file from a backup"
_METRICS = ("offset", "bytes", "crc32", "raw_bytes", "nulls")

Bound = int | str | None  # a smallest or largest value; see bounds.py


@dataclass(frozen=True)
class BlockEntry:
    """One block: where its bytes lie in the data file, its CRC-32, what it decodes to, which columns come before."""

    offset: int
    bytes: int
    crc32: int
    raw_bytes: int  # of the Arrow array
    nulls: int
    chain: str
    low: Bound = None
    high: Bound = None
    parents: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowOrder:
    """By which columns the rows of a block row were sorted, and where the block lies that has the way back.

    0 bytes: the original order was given up.
    """

    columns: tuple[int, ...]
    offset: int
    bytes: int
    crc32: int


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of blocks: `blocks[block row][column]`.

    `path` is empty where there is nothing to store: no rows, or no columns. The rows are those of the row
    groups `first_row_group` up to `end_row_group` of the lineage's file `source`. `orders[block row]`: None where
    the rows are in their order; empty where all are.
    """

    path: str
    bytes: int
    sha256: str
    source: int
    first_row_group: int
    end_row_group: int
    rows: tuple[int, ...]
    blocks: tuple[tuple[BlockEntry, ...], ...]
    schema: int = 0  # index into ArchiveManifest.schemas
    orders: tuple[RowOrder | None, ...] = ()

    def order(self, row: int) -> RowOrder | None:
        """How the rows of block row `row` were reordered, if they were."""
        return self.orders[row] if self.orders else None


@dataclass(frozen=True)
class SourceEntry:
    """One file of the source: path below the source's URL, bytes, rows, SHA-256 of its Parquet footer."""

    path: str
    bytes: int
    rows: int
    footer_sha256: str


@dataclass(frozen=True)
class ArchiveManifest:
    """`schemas[0]` is the table's; files whose schema metadata differs refer to others."""

    schemas: tuple[pa.Schema, ...]
    files: tuple[DataFile, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    source_url: str = ""
    sources: tuple[SourceEntry, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        return self.schemas[0]

    @property
    def num_rows(self) -> int:
        return sum(sum(file.rows) for file in self.files)

    @property
    def error_bounds(self) -> dict[int, ErrorBound]:
        """By position, how far the values of a column may lie from its source's; the others are exact."""
        bounds = self.options.get("max_error", {})
        try:
            return {
                i: error_bound(bounds[column.name]) for i, column in enumerate(self.schema) if column.name in bounds
            }
        except (InvalidArgumentError, TypeError) as error:
            raise CorruptError(f"the manifest has a max_error that is none: {bounds!r}") from error

    def to_json(self) -> dict[str, Any]:
        chains = sorted({block.chain for file in self.files for row in file.blocks for block in row})
        numbers = {chain: number for number, chain in enumerate(chains)}
        return {
            "kind": "archive",
            "format": FORMAT if any(o and o.bytes for file in self.files for o in file.orders) else IN_ORDER,
            "schema": encode_schema(self.schemas[0]),
            "other_schemas": [encode_schema(schema) for schema in self.schemas[1:]],
            "columns": [f"{column.name}: {column.type}" for column in self.schema],
            "rows": self.num_rows,
            "chains": chains,
            "files": [file_to_json(file, numbers) for file in self.files],
            "options": dict(self.options),
            "source": {"url": self.source_url, "files": [list(vars(entry).values()) for entry in self.sources]},
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> ArchiveManifest:
        """Reads a parsed manifest; `CorruptError` where it contradicts itself."""
        if body.get("kind") != "archive":
            raise CorruptError(f"this manifest is of kind {body.get('kind')!r}, expected 'archive'")
        try:
            schemas = tuple(decode_schema(text) for text in (body["schema"], *body["other_schemas"]))
            manifest = ArchiveManifest(
                schemas,
                tuple(file_from_json(item, body["chains"], len(schemas[0])) for item in body["files"]),
                body["options"],
                body["source"]["url"],
                tuple(SourceEntry(*entry) for entry in body["source"]["files"]),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise CorruptError(f"the manifest lacks something: {type(error).__name__} {error}") from error
        _check(manifest, body["rows"])
        return manifest


def file_to_json(file: DataFile, chains: Mapping[str, int]) -> dict[str, Any]:
    """One entry of `files`; `chains` gives the number of each chain in the list that goes with it."""
    grid = file.blocks
    metrics = {name: [[getattr(block, name) for block in row] for row in grid] for name in _METRICS}
    if any(block.parents for row in grid for block in row):
        metrics["parents"] = [[list(block.parents) for block in row] for row in grid]
    if any(file.orders):
        metrics["order"] = [[list(o.columns), o.offset, o.bytes, o.crc32] if o else [] for o in file.orders]
    return {
        "path": file.path,
        "size": file.bytes,
        "sha256": file.sha256,
        "source": [file.source, file.first_row_group, file.end_row_group],
        "schema": file.schema,
        "rows": list(file.rows),
        "chain": [[chains[block.chain] for block in row] for row in grid],
        "low": [[block.low for block in row] for row in grid],
        "high": [[block.high for block in row] for row in grid],
        **metrics,
    }


def file_from_json(item: Mapping[str, Any], chains: Sequence[str], columns: int) -> DataFile:
    """The inverse of `file_to_json`, believing nothing."""
    rows = tuple(_natural(count) for count in item["rows"])
    grids = {name: item[name] for name in (*_METRICS, "chain", "low", "high")}
    grids["parents"] = item.get("parents", [[()] * columns] * len(rows))
    for name, grid in grids.items():
        if len(grid) != len(rows) or any(len(row) != columns for row in grid):
            raise CorruptError(f"{name!r} of {item['path']!r} is not {len(rows)} rows of {columns} columns")
    blocks = tuple(
        tuple(_block(grids, chains, block_row, column) for column in range(columns)) for block_row in range(len(rows))
    )
    source, first, end = (_natural(number) for number in item["source"])
    size, schema = _natural(item["size"]), _natural(item["schema"])
    orders = tuple(_order(order, columns) for order in item.get("order", ()))
    if orders and len(orders) != len(rows):
        raise CorruptError(f"'order' of {item['path']!r} is not of {len(rows)} block rows")
    return DataFile(item["path"], size, item["sha256"], source, first, end, rows, blocks, schema, orders)


def _order(item: Sequence[Any], columns: int) -> RowOrder | None:
    if not item:
        return None
    keys, offset, size, crc32 = item
    order = RowOrder(tuple(map(_natural, keys)), *map(_natural, (offset, size, crc32)))
    if not order.columns or max(order.columns) >= columns:
        raise CorruptError(f"the manifest has rows sorted by {keys!r}, which are not its columns")
    return order


def _block(grids: Mapping[str, Any], chains: Sequence[str], block_row: int, column: int) -> BlockEntry:
    numbers = {name: _natural(grids[name][block_row][column]) for name in _METRICS}
    chain = str(chains[_natural(grids["chain"][block_row][column])])
    low, high = (_bound(grids[name][block_row][column]) for name in ("low", "high"))
    parents = tuple(_natural(parent) for parent in grids["parents"][block_row][column])
    if any(parent >= len(grids["parents"][block_row]) for parent in parents):
        raise CorruptError(f"the manifest has column {column} depend on one that is not there")
    return BlockEntry(**numbers, chain=chain, low=low, high=high, parents=parents)


def _bound(value: object) -> Bound:
    if value is None or type(value) in (int, str):
        return cast(Bound, value)
    raise CorruptError(f"the manifest has {value!r} where a bound belongs")


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise CorruptError(f"the manifest has {value!r} where a count belongs")
    return value


def _check(manifest: ArchiveManifest, rows: object) -> None:
    _ = manifest.error_bounds
    if rows != manifest.num_rows:
        raise CorruptError(f"the manifest says {rows!r} rows, its files have {manifest.num_rows}")
    for file in manifest.files:
        if not isinstance(file.path, str) or (file.path and not _DATA_PATH.fullmatch(file.path)):
            raise CorruptError(f"the manifest names {file.path!r}, which is no data file")
        if file.schema >= len(manifest.schemas) or (manifest.sources and file.source >= len(manifest.sources)):
            raise CorruptError(f"the manifest refers to a schema or source that it lacks, for {file.path!r}")
        for order in filter(None, file.orders):
            if order.offset + order.bytes > file.bytes:
                raise CorruptError(f"the manifest places the order of rows outside of {file.path!r}")
        for block in (block for row in file.blocks for block in row):
            if block.offset + block.bytes > file.bytes or block.nulls > max(file.rows):
                raise CorruptError(f"the manifest places a block outside of {file.path!r}")
