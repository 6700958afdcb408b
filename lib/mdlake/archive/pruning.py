"""Filters: which block rows cannot hold a row that passes, by the bounds in the manifest, and which rows pass.

Arrow itself decides: each block row becomes a dataset fragment that guarantees its bounds, and Arrow drops the
fragments in which the filter cannot hold. A block row with nulls in filtered columns becomes several fragments,
one per combination of "null here" and "not null here", since a bound says nothing of nulls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from operator import and_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from mdlake.archive.bounds import guarantee
from mdlake.archive.layout import BlockEntry
from mdlake.errors import InvalidArgumentError

Filter = pc.Expression | Sequence[Any] | None
"""An Arrow expression, or pyarrow's tuples: `[("x", ">", 3), ("y", "in", ["a"])]`, or a list of such lists."""

_MOST_SPLIT = 4


def as_expression(filter: Filter) -> pc.Expression | None:
    if filter is None or isinstance(filter, pc.Expression):
        return filter
    try:
        return pq.filters_to_expression(filter)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InvalidArgumentError(f"the filter is not understood: {error}") from error


def filter_columns(expression: pc.Expression, schema: pa.Schema) -> list[int]:
    """The positions of the columns that the filter mentions; checks that it fits the schema."""
    _bind(expression, schema)
    used = []
    for i, name in enumerate(schema.names):
        without = pa.schema([column for column in schema if column.name != name])
        try:
            _bind(expression, without)
        except InvalidArgumentError:
            used.append(i)
    return used


def surviving(
    expression: pc.Expression, schema: pa.Schema, used: Sequence[int], grid: Sequence[tuple[int, Sequence[BlockEntry]]]
) -> set[int]:
    """Of block rows, given as (rows, blocks), the indices of those in which the filter may hold."""
    layout, system = ds.ParquetFileFormat(), fs.LocalFileSystem()  # names only: no file is opened
    fragments = [
        layout.make_fragment(str(index), system, partition_expression=known)
        for index, (rows, blocks) in enumerate(grid)
        for known in _guarantees(schema, used, rows, blocks)
    ]
    dataset = ds.FileSystemDataset(fragments, schema, layout, system)
    return {int(fragment.path) for fragment in dataset.get_fragments(filter=expression)}


def passing(expression: pc.Expression, batch: pa.RecordBatch) -> pa.BooleanArray:
    """For each row whether the filter holds; null counts as no."""
    try:
        scanner = ds.Scanner.from_batches(
            [batch], schema=batch.schema, columns={"passes": expression}, use_threads=False
        )
        flags = scanner.to_table().column(0)
    except pa.ArrowException as error:
        raise InvalidArgumentError(f"the filter cannot be evaluated: {error}") from error
    return pa.concat_arrays([chunk.cast(pa.bool_()) for chunk in flags.chunks]).fill_null(False)


def keep(batch: pa.RecordBatch, flags: pa.BooleanArray) -> pa.RecordBatch:
    """The rows with a true flag."""
    if flags.true_count == len(flags):
        return batch
    if not batch.num_columns or not flags.true_count:
        return batch.slice(0, flags.true_count)
    arrays = [_keep(array, flags) for array in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _keep(array: pa.Array, flags: pa.BooleanArray) -> pa.Array:
    try:
        return array.filter(flags)
    except pa.ArrowNotImplementedError:  # view types: Arrow can only slice and join them
        edges = np.flatnonzero(np.diff(flags.to_numpy(zero_copy_only=False), prepend=False, append=False))
        return pa.concat_arrays([array.slice(a, b - a) for a, b in edges.reshape(-1, 2).tolist()])


def _guarantees(
    schema: pa.Schema, used: Sequence[int], rows: int, blocks: Sequence[BlockEntry]
) -> Iterator[pc.Expression]:
    alternatives: list[list[pc.Expression]] = []
    for i in used:
        block = blocks[i]
        cases = [*([False] if block.nulls < rows else []), *([True] if block.nulls else [])]
        known = [guarantee(schema.field(i), block, nulls=nulls) for nulls in cases]
        if len(known) == 1 or len(alternatives) < _MOST_SPLIT:
            alternatives.append(known)
    for combination in product(*alternatives):
        yield reduce(and_, combination, pc.scalar(True))


def _bind(expression: pc.Expression, schema: pa.Schema) -> None:
    try:
        ds.Scanner.from_batches([], schema=schema, filter=expression)
    except (pa.ArrowException, KeyError, TypeError) as error:
        said = str(error).split(" in ")[0].splitlines()[0]  # Arrow goes on with the whole schema
        raise InvalidArgumentError(f"the filter does not fit the columns: {said}; there are {schema.names}") from error
