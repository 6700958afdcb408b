"""The form of a block row that takes the fewest bytes: as it is, with the loss that error bounds allow, reordered.

Each form that is allowed is encoded in full, and the shortest kept: what is allowed never makes a block row larger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from mdlake import block
from mdlake.archive.bounds import bounds
from mdlake.archive.layout import BlockEntry, RowOrder
from mdlake.archive.loss import approximate
from mdlake.archive.options import EncodeOptions
from mdlake.archive.reorder import key_ranks, sort_columns, sorted_rows, take
from mdlake.block_row import NO_PATHS, encode_row
from mdlake.encodings import Encoding
from mdlake.explanation import Explanation, Watcher


@dataclass(frozen=True)
class EncodedRow:
    """The blocks of a block row by column, and what the manifest will say of each but its place.

    `order`: by which columns the rows were sorted, if they were; `order_block`: the way back, where it is kept.
    `explained`: why each block is so, where that was asked for.
    """

    blocks: list[bytes]
    entries: list[BlockEntry]
    order: RowOrder | None = None
    order_block: bytes = b""
    explained: tuple[Explanation, ...] = ()

    @property
    def size(self) -> int:
        return sum(map(len, self.blocks)) + len(self.order_block)


def shortest_row(
    schema: pa.Schema, arrays: list[pa.Array], options: EncodeOptions, watcher: Watcher | None = None
) -> EncodedRow:
    """Encodes a block row. Takes the arrays out of the list; where there is no choice, each is freed once encoded."""
    encode = partial(_encode, schema, options=options, watcher=watcher)
    bounded = {i: options.error_bounds[field.name] for i, field in enumerate(schema) if field.name in options.max_error}
    if not bounded and options.reorder == "none":
        return encode(arrays)
    best, paths = encode(list(arrays)), NO_PATHS
    near = {position: approximate(arrays[position], bound) for position, bound in bounded.items()}
    if any(found.path for found in near.values()):
        replaced = [near[i].array if i in near else array for i, array in enumerate(arrays)]
        steps = {position: found.path for position, found in near.items()}
        row = encode(list(replaced), paths=steps)
        if row.size < best.size:
            best, arrays, paths = row, replaced, steps
    if options.reorder != "none" and (row := _reordered(schema, arrays, options, bounded, paths, watcher)):
        best = min(best, row, key=lambda row: row.size)
    return best


def _reordered(
    schema: pa.Schema,
    arrays: list[pa.Array],
    options: EncodeOptions,
    bounded: Collection[int],
    paths: Mapping[int, Sequence[Encoding]],
    watcher: Watcher | None,
) -> EncodedRow | None:
    """The block row sorted, if a sample says that this may pay; never by columns whose values may be off."""
    stored = options.reorder == "reversible"
    columns = sort_columns(arrays, [i for i in range(len(schema)) if i not in bounded], stored=stored)
    ranks = key_ranks(arrays, columns) if columns else None
    if ranks is None:
        return None
    rows = sorted_rows(ranks)
    data = block.encode_values(ranks, options.effort, options.coders) if stored else b""
    order = RowOrder(columns, 0, len(data), block.describe(data).crc32 if stored else 0)
    row = _encode(schema, [take(array, rows) for array in arrays], options, paths, watcher)
    return replace(row, order=order, order_block=data)


def _encode(
    schema: pa.Schema,
    arrays: list[pa.Array],
    options: EncodeOptions,
    paths: Mapping[int, Sequence[Encoding]] = NO_PATHS,
    watcher: Watcher | None = None,
) -> EncodedRow:
    blocks: dict[int, bytes] = {}
    entries: dict[int, BlockEntry] = {}
    explained: dict[int, Explanation] = {}
    how = options.effort, options.coders, options.depth
    for position, array, data in encode_row(schema, arrays, *how, paths, watcher):
        blocks[position], entries[position] = data, _entry(array, data)
        if watcher:
            explained[position] = watcher.explain(data)
    order = range(len(schema))
    why = tuple(explained[i] for i in order) if watcher else ()
    return EncodedRow([blocks[i] for i in order], [entries[i] for i in order], explained=why)


def _entry(array: pa.Array, data: bytes) -> BlockEntry:
    low, high = bounds(array)
    described = block.describe(data)
    place = (0, len(data), described.crc32, array.nbytes, array.null_count)
    return BlockEntry(*place, described.chain, low, high, described.parents)
