"""Symbols coded apart by clusters of contexts, and the sieve that says which contexts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from columns import known_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdlake.block_row import encode_row
from mdlake.coding.clustering import MOST, clusters
from mdlake.encodings.partition import Partition
from mdlake.encodings.protocol import Shape
from mdlake.errors import CorruptError
from mdlake.parents import Column
from mdlake.search.relations import Reach, relate
from mdlake.streams import numbers, same
from mdlake.wire import Reader, Writer


def size_of(table: pa.Table, column: str, depth: int | None = None) -> int:
    arrays = [one.combine_chunks() for one in table.columns]
    sizes = {position: len(data) for position, _, data in encode_row(table.schema, arrays, depth=depth)}
    return sizes[table.schema.names.index(column)]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 3000), st.integers(1, 60), st.integers(1, 300), st.integers(0, 100))
def test_any_partition_gives_its_symbols_back(count: int, keys: int, alphabet: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, keys, (count, 2)).astype(np.uint32)
    symbols = ((codes[:, 0] * 7 + random.integers(0, 1 + alphabet // 4, count)) % alphabet).astype(np.uint16)
    encoded = Partition((0, 1) if seed % 2 else (1,)).encode(symbols, known_codes(codes))
    if encoded is None:  # one table for all is shorter
        return
    writer = Writer()
    encoded[0].write(writer)
    read = Partition.read(Reader(writer.getvalue()), Shape.of(symbols))
    assert [Shape.of(child) for child in encoded[1]] == list(read.children(Shape.of(symbols)))
    assert same(read.decode(encoded[1], Shape.of(symbols), known_codes(codes)), symbols)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, st.integers(1, 60)), st.integers(0, 3))
def test_hostile_parts_only_raise(parts: np.ndarray, cut: int) -> None:
    codes = (np.arange(600) % 60).astype(np.uint32)[:, None]
    symbols = np.arange(600).astype(np.uint16)
    step = Partition((0,), 60, (200, 200, 200))
    children = (parts, *np.split(symbols, 3))
    with pytest.raises(CorruptError):
        step.decode(children if len(parts) == 60 else (np.resize(parts, 60) % 2, *children[1:]), Shape.of(symbols),
                    known_codes(codes[: 600 - cut]) if cut else None)  # fmt: skip


def test_contexts_that_are_alike_share_a_table() -> None:
    random = np.random.default_rng(0)
    keys = random.integers(0, 2000, 100_000)
    symbols = np.where(keys % 3 == 0, random.integers(0, 8, 100_000), random.integers(100, 104, 100_000))
    found = clusters(keys, 2000, symbols.astype(np.intp), 104)
    assert found.max() == 1 and len(np.unique(found[::3])) == 1 and found[0] != found[1]
    assert clusters(keys, 2000, random.integers(0, 50, 100_000), 50).max() == 0
    assert clusters(keys, 2000, keys, 2000).max() < MOST


def test_a_column_takes_less_beside_one_that_tells_of_it() -> None:
    """A thousand routes, each with its own dozen of times: no function, and still most of what there is to say."""
    random = np.random.default_rng(1)
    route = random.integers(0, 1000, 60_000)
    time = random.integers(0, 1000, (16, 12))[route % 16, random.integers(0, 12, 60_000)]
    table = pa.table({"time": time, "route": route, "noise": random.integers(0, 1000, 60_000)})
    assert size_of(table, "time") < 0.6 * size_of(table, "time", depth=0)


def test_what_tells_nothing_is_no_parent() -> None:
    """Many values seen a few times each: what a small sample takes for a relation must not become one."""
    random = np.random.default_rng(2)
    columns = {f"c{i}": random.integers(0, most, 40_000) for i, most in enumerate((10, 300, 5000, 20_000))}
    table = pa.table(columns)
    relations = relate([Column.of(one.combine_chunks()) for one in table.columns], Reach(sample=8192, static=True))
    assert all(not relation.parents for relation in relations.of)


def test_the_sieve_sees_few_rows_of_many_values_each() -> None:
    """Three stations that measure nearly the same each hour, one after the other in the table."""
    random = np.random.default_rng(3)
    weather = random.integers(0, 2000, 9000)
    table = pa.table(
        {"hour": np.tile(np.arange(9000), 3), "measured": np.tile(weather, 3) + random.integers(0, 3, 27000)}
    )
    relations = relate([Column.of(one.combine_chunks()) for one in table.columns], Reach(sample=8192, static=True))
    assert relations.of[1].parents == (0,)


@pytest.mark.parametrize("fields", [b"\x00", b"\x03\x00\x00\x00", b"\x01\x00\x05\x01\x05", b"\x01\x00\x05\x02\x01\x01"])
def test_damaged_fields_only_raise(fields: bytes) -> None:
    with pytest.raises(CorruptError):
        Partition.read(Reader(fields), Shape.of(numbers(np.zeros(5, np.uint8))))
