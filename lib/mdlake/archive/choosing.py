"""The form of a block row that takes the fewest bytes: as it is, or with the loss that error bounds allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mdlake import block
from mdlake.archive.bounds import bounds
from mdlake.archive.layout import BlockEntry
from mdlake.archive.loss import approximate
from mdlake.archive.options import EncodeOptions
from mdlake.block_row import NO_PATHS, encode_row
from mdlake.encodings import Encoding


@dataclass(frozen=True)
class EncodedRow:
    """The blocks of a block row by column, and what the manifest will say of each but its place."""

    blocks: list[bytes]
    entries: list[BlockEntry]

    @property
    def size(self) -> int:
        return sum(map(len, self.blocks))


def shortest_row(schema: pa.Schema, arrays: list[pa.Array], options: EncodeOptions) -> EncodedRow:
    """Encodes a block row. Takes the arrays out of the list; where there is no choice, each is freed once encoded."""
    bounded = {i: options.error_bounds[field.name] for i, field in enumerate(schema) if field.name in options.max_error}
    if not bounded:
        return _encode(schema, arrays, options)
    near = {position: approximate(arrays[position], bound) for position, bound in bounded.items()}
    if not any(found.path for found in near.values()):
        return _encode(schema, arrays, options)
    exact = _encode(schema, list(arrays), options)
    for position, found in near.items():
        arrays[position] = found.array
    paths = {position: found.path for position, found in near.items()}
    return min(exact, _encode(schema, arrays, options, paths), key=lambda row: row.size)


def _encode(
    schema: pa.Schema,
    arrays: list[pa.Array],
    options: EncodeOptions,
    paths: Mapping[int, Sequence[Encoding]] = NO_PATHS,
) -> EncodedRow:
    blocks: dict[int, bytes] = {}
    entries: dict[int, BlockEntry] = {}
    for position, array, data in encode_row(schema, arrays, options.effort, options.coders, options.depth, paths):
        blocks[position], entries[position] = data, _entry(array, data)
    order = range(len(schema))
    return EncodedRow([blocks[i] for i in order], [entries[i] for i in order])


def _entry(array: pa.Array, data: bytes) -> BlockEntry:
    low, high = bounds(array)
    described = block.describe(data)
    place = (0, len(data), described.crc32, array.nbytes, array.null_count)
    return BlockEntry(*place, described.chain, low, high, described.parents)
