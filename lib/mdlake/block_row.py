"""A block row: the blocks of a table's columns over the same rows, some of them coded with others.

Columns are encoded in the order that their relations ask for and decoded in the same, parents first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa

from mdlake import block
from mdlake.block import Beside, Watch
from mdlake.encodings import Encoding
from mdlake.errors import CorruptError, located
from mdlake.parents import Column
from mdlake.search.relations import Reach, Relation, Relations, relate

NO_PATHS: Mapping[int, Sequence[Encoding]] = MappingProxyType({})
_REACH = {"default": Reach(sample=8192, static=True), "max": Reach()}


def encode_row(
    schema: pa.Schema,
    columns: list[pa.Array],
    effort: str = "default",
    coders: tuple[str, ...] | None = None,
    depth: int | None = None,
    paths: Mapping[int, Sequence[Encoding]] = NO_PATHS,
    watch: Watch | None = None,
    only: Collection[int] | None = None,
) -> Iterable[tuple[int, pa.Array, bytes]]:
    """The blocks of a block row as they are made: the column's position, its array, its block.

    Arrays are taken out of the list, so that each may be freed when it is encoded.

    Args:
        depth: how many columns, one coded with the other, may have to be read before one: 0 for every column alone,
            None for as many as make it short.
        paths: by position, how the chain of a column's values may begin, where the caller knows what they are.
        watch: is told of each stream what was searched and found, before the block that it is in comes.
        only: positions of the columns whose blocks are asked for; None: all.
    """
    known: list[Column | None] = [None] * len(columns)
    relations = Relations(tuple(range(len(columns))), (Relation(),) * len(columns))
    if effort in _REACH and depth != 0:
        known = [Column.of(column) for column in columns]
        reach = _REACH[effort]
        relations = relate(known, reach if depth is None else replace(reach, depth=depth))
    needed = {parent for relation in relations.of for parent in relation.parents}
    known = [column if position in needed else None for position, column in enumerate(known)]
    for position in relations.order:
        if only is not None and position not in only:
            continue
        relation = relations.of[position]
        parents = tuple(column for parent in relation.parents if (column := known[parent]) is not None)
        beside = Beside(relation.parents, parents, relation.hints) if parents else None
        array, columns[position] = columns[position], pa.nulls(0)
        with located(column=schema.field(position).name):
            data = block.encode_array(array, effort, coders, beside, paths.get(position, ()), watch)
        yield position, array, data


@dataclass
class RowDecoder:
    """Decodes columns of one block row, each once, with the columns that they were coded with.

    `blocks`: bytes by position, of the columns wanted and all that these need; `crcs` what they must be.
    """

    schema: pa.Schema
    rows: int
    blocks: Mapping[int, bytes | memoryview]
    crcs: Mapping[int, int]
    parents: Mapping[int, Sequence[int]]

    def __post_init__(self) -> None:
        self._arrays: dict[int, pa.Array] = {}
        self._known: dict[int, Column] = {}

    def column(self, position: int) -> pa.Array:
        """Raises as `block.decode_array`, naming the column."""
        for needed in ancestors(position, self.parents):
            if needed not in self._arrays:
                self._arrays[needed] = self._decode(needed)
        return self._arrays[position]

    def _decode(self, position: int) -> pa.Array:
        field = self.schema.field(position)
        with located(column=field.name):
            known = {parent: self._parent(parent) for parent in self.parents.get(position, ())}
            return block.decode_array(
                self.blocks[position], field.type, length=self.rows, crc32=self.crcs[position], parents=known
            )

    def _parent(self, position: int) -> Column:
        if position not in self._known:
            column = Column.of(self._arrays[position])
            if column is None:
                raise CorruptError(f"column {self.schema.field(position).name!r} cannot be what another is coded with")
            self._known[position] = column
        return self._known[position]


def ancestors(position: int, parents: Mapping[int, Sequence[int]]) -> list[int]:
    """A column and all that it needs, directly or not, those that are needed first.

    Raises:
        CorruptError: a column needs itself.
    """
    order: list[int] = []
    open_: list[tuple[int, bool]] = [(position, False)]
    above: set[int] = set()
    while open_:
        at, entered = open_.pop()
        if entered:
            above.discard(at)
            order.append(at)
        elif at in above:
            raise CorruptError(f"column {at} is coded with itself")
        elif at not in order:
            above.add(at)
            open_.append((at, True))
            open_.extend((parent, False) for parent in parents.get(at, ()) if parent not in order)
    return order
