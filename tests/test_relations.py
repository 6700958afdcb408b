"""Promise: columns that tell about each other are found, coded with each other, and come back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrow_arrays

import mdlake
from mdlake import block
from mdlake.archive.reader import Archive
from mdlake.block import Beside
from mdlake.block_row import RowDecoder, ancestors, encode_row
from mdlake.encodings.known import Hints
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.parents import Column, ranks
from mdlake.search.order import Option, cheapest_order
from mdlake.search.relations import Reach, relate
from mdlake.streams import Strings

ROWS = 3000


def related() -> pa.Table:
    """A table in which every column but two follows from others: by lookup, by sum, on a clock, nearly."""
    random = np.random.default_rng(7)
    key = random.integers(0, 300, ROWS)
    delay = random.integers(-30, 200, ROWS)
    scheduled = (300 + 7 * key) % 1440
    actual = (scheduled + delay) % 1440
    names = np.array([f"place {n * n % 97}" for n in range(300)])
    return pa.table(
        {
            "place": names[key],
            "actual": actual // 60 * 100 + actual % 60,
            "key": pa.array(key, mask=key == 5),
            "delay": delay.astype(np.int16),
            "scheduled": scheduled // 60 * 100 + scheduled % 60,
            "noise": random.integers(0, 1 << 40, ROWS),
            "constant": np.zeros(ROWS),
            "nested": [[int(k)] for k in key],
        }
    )


def blocks_of(table: pa.Table, effort: str = "max", depth: int | None = None) -> dict[int, bytes]:
    columns = [column.combine_chunks() for column in table.combine_chunks().columns]
    return {position: data for position, _, data in encode_row(table.schema, columns, effort, None, depth)}


def decoder(table: pa.Table, blocks: dict[int, bytes]) -> RowDecoder:
    described = {position: block.describe(data) for position, data in blocks.items()}
    crcs = {position: found.crc32 for position, found in described.items()}
    return RowDecoder(table.schema, len(table), blocks, crcs, {p: found.parents for p, found in described.items()})


def test_what_follows_from_other_columns_takes_next_to_nothing() -> None:
    table = related()
    together, alone = blocks_of(table), blocks_of(table, depth=0)
    assert all(not block.describe(data).parents for data in alone.values())
    sizes = {name: len(together[place]) for place, name in enumerate(table.schema.names)}
    followers = ("actual", "delay", "scheduled", "place", "key")
    assert sum(sizes[name] for name in followers) < 0.55 * sum(
        len(alone[table.schema.names.index(n)]) for n in followers
    )
    assert min(sizes["actual"], sizes["delay"], sizes["scheduled"]) < 400  # one of the three follows from the other two


@pytest.mark.parametrize("depth", [None, 0, 1])
def test_every_column_comes_back_whatever_is_read_first(depth: int | None) -> None:
    table = related()
    blocks = blocks_of(table, depth=depth)
    for position in reversed(range(table.num_columns)):
        array = decoder(table, blocks).column(position)
        assert array.equals(table.column(position).combine_chunks())


def test_depth_bounds_the_chain_of_parents() -> None:
    table = related()
    for depth in (0, 1, 2):
        parents = {place: block.describe(data).parents for place, data in blocks_of(table, depth=depth).items()}

        def above(column: int, parents: dict[int, tuple[int, ...]] = parents) -> int:
            return max((1 + above(parent) for parent in parents[column]), default=0)

        assert max(map(above, parents)) <= depth
    with pytest.raises(InvalidArgumentError, match="depth must be at least 0"):
        mdlake.encode(table, "memory://depth", effort="max", depth=-1)


def test_an_archive_reads_the_parents_of_the_columns_asked_for(tmp_path: Path) -> None:
    table = related()
    mdlake.encode(table, tmp_path / "a", effort="max")
    archive = Archive.open(str(tmp_path / "a"))
    assert any(entry.parents for entry in archive.manifest.files[0].blocks[0])
    for name in table.schema.names:
        assert archive.to_table(columns=[name]).equals(table.select([name]))
    kept = archive.to_table(columns=["delay"], filter=[("key", "==", 7)])
    assert kept.num_rows == int((table["key"].to_numpy(zero_copy_only=False) == 7).sum())


def test_the_same_rows_give_the_same_blocks() -> None:
    assert blocks_of(related()) == blocks_of(related())


@settings(max_examples=40, deadline=None)
@given(st.lists(arrow_arrays(), min_size=2, max_size=4), st.data())
def test_any_columns_side_by_side_come_back(columns: list[pa.Array], data: st.DataObject) -> None:
    rows = min(map(len, columns))
    table = pa.table({f"c{i}": column[:rows] for i, column in enumerate(columns)})
    decoding = decoder(table, blocks_of(table))
    for position in range(table.num_columns):
        found, expected = decoding.column(position), table.column(position).combine_chunks()
        assert block.encode_array(found, "fast") == block.encode_array(expected, "fast")


def test_a_block_is_not_decoded_without_its_parents() -> None:
    drawn = np.random.default_rng(2).integers(0, 50, 2000)
    key, value = pa.array(drawn), pa.array(drawn**2)
    column = Column.of(key)
    assert column is not None
    data = block.encode_array(value, "max", beside=Beside((4,), (column,), Hints((((2, 0),),))))
    assert block.decode_array(data, pa.int64(), length=2000, parents={4: column}).equals(value)
    with pytest.raises(CorruptError, match="column 4"):
        block.decode_array(data, pa.int64(), length=2000)
    short = Column.of(key[:1999])
    assert short is not None
    with pytest.raises(CorruptError, match="column 4"):
        block.decode_array(data, pa.int64(), length=2000, parents={4: short})


def test_columns_that_need_each_other_are_refused() -> None:
    assert ancestors(0, {0: (1, 2), 1: (2,)}) == [2, 1, 0]
    with pytest.raises(CorruptError, match="coded with itself"):
        ancestors(0, {0: (1,), 1: (2,), 2: (0,)})


def test_codes_are_ranks_in_the_order_of_values() -> None:
    assert ranks(np.array([5, -3, 5, 9])).tolist() == [1, 0, 1, 2]
    assert ranks(np.array([1e300, -0.0, 0.0, -1.0, np.inf])).tolist() == [3, 1, 2, 0, 4]
    assert ranks(np.array([2**63, 1, 2**64 - 1], np.uint64)).tolist() == [1, 0, 2]
    words = Strings.of(np.array([2, 1, 0, 2]), np.frombuffer(b"abbab", np.uint8))
    assert ranks(words).tolist() == [1, 2, 0, 1]
    column = Column.of(pa.array([3, None, 1]))
    assert column is not None and column.codes.tolist() == [2, 0, 1]
    assert column.numbers is not None and column.numbers.tolist() == [3, 0, 1]
    prices = Column.of(pa.array([1.25, None, 3.5, float("nan")]))
    assert prices is not None and prices.numbers is not None and prices.numbers.tolist() == [125, 0, 350, 0]
    assert Column.of(pa.array([[1]])) is None and Column.of(pa.array(["a"]).dictionary_encode()) is None


def test_the_order_is_mended_where_greed_errs() -> None:
    """Column 2 is cheapest alone, but given 0 and 1 it is free, and these need nothing of it."""
    nothing = frozenset[int]()
    options = [
        Option(0, nothing, 100),
        Option(1, nothing, 100),
        Option(2, nothing, 90),
        Option(2, frozenset({0, 1}), 0),
        Option(1, frozenset({2}), 95),
    ]
    assert cheapest_order(options) in ([0, 1, 2], [1, 0, 2])


def test_columns_that_take_no_part_keep_their_place() -> None:
    codes = [Column.of(pa.array(values)) for values in ([1, 1, 1], [[1], [2], [3]], ["a", "b", "a"], [7, 8, 7])]
    found = relate(codes, Reach())
    assert sorted(found.order) == [0, 1, 2, 3] and found.of[0].parents == found.of[1].parents == ()


class Wrapped(pa.ExtensionType):
    """An extension type of any storage."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "mdlake.tests.wrapped")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Wrapped:
        return cls(storage_type)


@pytest.mark.parametrize(
    "storage",
    [
        pa.array([[1, 2], None, []] * 50, pa.list_(pa.int32())),
        pa.array(["a", "b", None] * 50, pa.dictionary(pa.int8(), pa.string())),
        pa.nulls(150),
        pa.array([3, 1, None] * 50, pa.int16()),
    ],
    ids=["list", "dictionary", "null", "integer"],
)
def test_extension_types_take_part_as_far_as_their_storage_does(storage: pa.Array) -> None:
    table = pa.table({"wrapped": Wrapped(storage.type).wrap_array(storage), "other": np.arange(150) % 3})
    rows = decoder(table, blocks_of(table))
    assert [rows.column(place).equals(table.column(place).chunk(0)) for place in range(2)] == [True, True]


def test_a_column_that_tells_where_a_series_jumps_comes_before_it() -> None:
    """Dates of the lines of an order are near each other; the line's number says where an order begins."""
    random = np.random.default_rng(3)
    sizes = random.integers(1, 8, 10_000)
    line = np.concatenate([np.arange(1, size + 1) for size in sizes])
    date = np.repeat(random.integers(0, 2400, len(sizes)), sizes) + random.integers(30, 91, len(line))
    found = relate([Column(pa.array(date)), Column(pa.array(line))], Reach())
    assert found.order == (1, 0)
    assert found.of[0].parents == (1,)
