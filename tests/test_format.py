"""FORMAT.md is exact: `reference`, a decoder written from it alone, reads whatever this library wrote or writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from golden_blocks import GOLDEN, every_block, expected_of
from hypothesis import HealthCheck, given, settings
from make_golden import one_step, strings
from reference.archive import read_archive
from reference.block import CODERS as REFERENCE
from reference.block import Block
from reference.columns import decode_column, parent_of_column, values_of
from reference.reader import Parent, Unknown, Values
from strategies import arrow_arrays
from tables import followers

import mdlake
from mdlake.block import EFFORTS, Beside, assemble, decode_values, describe, encode_array
from mdlake.coding import CODERS
from mdlake.coding.predicting import Predictor
from mdlake.encodings import Encoding
from mdlake.encodings.chain import Chain
from mdlake.encodings.formula import HOW, Formula
from mdlake.encodings.integers import Delta
from mdlake.encodings.interpolated import Interpolated
from mdlake.encodings.known import Hints, Known
from mdlake.encodings.lookup import Lookup
from mdlake.encodings.mixed import Mixed
from mdlake.encodings.octaves import Octaves
from mdlake.encodings.plain import Plain
from mdlake.encodings.predicted import Predicted
from mdlake.encodings.protocol import Shape
from mdlake.encodings.scaled import Scaled
from mdlake.encodings.text_mixed import MixedText
from mdlake.expressions import Expression
from mdlake.parents import Column
from mdlake.streams import Kind, Stream, Strings, bits_of, kind_of


@every_block
def test_the_reference_decodes_every_golden_block(path: Path) -> None:
    expected, *beside = expected_of(path)
    parents = {place: parent_of_column(values_of(array), array.type) for place, array in enumerate(beside)}
    assert decoded(path.read_bytes(), expected.type, parents) == values_of(expected)


def decoded(data: bytes, type_: pa.DataType, parents: Mapping[int, Parent]) -> Values:
    try:
        return decode_column(data, type_, parents)
    except Unknown as error:
        pytest.skip(f"the reference does not know {error} yet")


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("archive-*")), ids=lambda folder: folder.name)
def test_the_reference_reads_every_golden_archive(folder: Path) -> None:
    with pa.OSFile(str(folder / "expected.arrow")) as source:
        expected = pa.ipc.open_file(source).read_all()
    schema, columns = read_archive(folder)
    assert schema.equals(expected.schema, check_metadata=True)
    assert columns == [[value for chunk in column.chunks for value in values_of(chunk)] for column in expected.columns]


@pytest.mark.parametrize("reorder", ["reversible", "free"])
def test_the_reference_reads_archives_as_they_are_written_now(tmp_path: Path, reorder: str) -> None:
    mdlake.encode(followers(200), str(tmp_path), "fast", rows_per_block=120, reorder=reorder)
    table = mdlake.open(str(tmp_path)).to_table()
    columns = [[value for chunk in column.chunks for value in values_of(chunk)] for column in table.columns]
    try:
        assert read_archive(tmp_path)[1] == columns
    except Unknown as error:
        pytest.skip(f"the reference does not know {error} yet")


def arrays() -> dict[str, pa.Array]:
    n = np.arange(700)
    noise = (n.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    adjectives = "quick", "brown", "lazy", "old", "good"
    return {
        "ramp": pa.array(n * 3600 - 9, mask=n % 50 == 3),
        "noise": pa.array(noise),
        "bytes": pa.array((noise % 11).astype(np.uint8)),
        "series": pa.array((1000 * np.sin(n / 20)).astype(np.int64) + (noise % 5).astype(np.int64)),
        "decimals": pa.array(np.where(n % 90 == 7, np.nan, (noise % 5000) / 100)),
        "floats": pa.array((noise / 7).astype(np.float32)),
        "words": pa.array([f"the {adjectives[i * i % 5]} fox of {i % 3}" for i in n.tolist()]),
        "times": pa.array([f"2013-{i // 60 + 1:02d}-{i % 28 + 1:02d}T{i % 24:02d}:{i % 60:02d}" for i in n.tolist()]),
        "lists": pa.array([None if i % 9 == 8 else list(range(i % 4)) for i in n.tolist()], pa.list_(pa.int16())),
    }


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", arrays())
def test_the_reference_decodes_what_each_effort_writes(name: str, effort: str) -> None:
    array = arrays()[name]
    assert decoded(encode_array(array, effort), array.type, {}) == values_of(array)


@given(array=arrow_arrays())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_reference_decodes_columns_of_any_type(array: pa.Array) -> None:
    assert decoded(encode_array(array, "fast"), array.type, {}) == values_of(array)


@pytest.mark.parametrize("count", [0, 1, 2, 300, 20_001])
@pytest.mark.parametrize(
    ("name", "alphabet"),
    [(n, a) for n, coder in CODERS.items() for a in (1, 2, 7, 256, 3000) if a <= coder.max_alphabet],
)
def test_the_reference_decodes_every_coder(name: str, alphabet: int, count: int) -> None:
    """Of few symbols and of many, for which there are more lanes, and more codes than LZW has room for."""
    noise = (np.arange(count, dtype=np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)
    skewed = (noise * noise >> np.uint64(31)) * np.uint64(alphabet) >> np.uint64(31)
    symbols = skewed.astype(np.uint8 if alphabet <= 256 else np.uint16)
    payload = bytes(CODERS[name].encode(symbols, alphabet))
    assert REFERENCE[name](payload, count, alphabet) == symbols.tolist()


def comparable(stream: Stream) -> Values:
    if isinstance(stream, Strings):
        return [bytes(stream.data[start:end]) for start, end in zip(stream.offsets, stream.offsets[1:], strict=False)]
    return (bits_of(stream) if kind_of(stream).is_float else stream).tolist()


def decoded_values(data: bytes) -> Values:
    """The numbers, or bit patterns of floats, of a block of a plain vector, by the reference."""
    return Block.of(data).stream()[1]


def assert_reads(
    stream: Stream, chain: Chain, names: tuple[int, ...] = (), parents: Mapping[int, Parent] | None = None
) -> None:
    block = Block.of(assemble(len(stream), [(Shape.of(stream), chain)], names))
    assert block.stream(block.beside(parents or {}))[1] == comparable(stream)


def alone() -> dict[str, tuple[Stream, Encoding]]:
    """What golden blocks do not have: edges of a predictor's tables, of a grid, of a series."""
    lines = [b"ab cd ef gh %d" % (i % 7) for i in range(60)]
    all_but_q = bytes(byte for byte in range(256) if byte != ord("q"))
    symbols = (np.arange(3000) * 7919 % 1499).astype(np.uint16)
    low, high = Octaves(7, -1076), Octaves(3, 1000)
    cases: dict[str, tuple[Stream, Encoding]] = {
        "a letter as terminator": (strings([*lines[:9], all_but_q, *lines, b"ab-" * 70, b"a-" * 99, b""]), MixedText()),
        "a terminator within": (strings([all_but_q, bytes(range(256)), all_but_q]), MixedText()),
        "text with a low limit": (strings(lines), MixedText(limit=1)),
        "one empty text": (strings([b""]), MixedText()),
        "one context": (symbols, Mixed((((0, 0),),))),
        "a context of nothing, a low limit": (symbols, Mixed(((), ((0, 3), (1, 2))), limit=2)),
        "octaves below the least float": (low.values(np.arange(-99, 99), Kind.F64), low),
        "octaves above the largest": (high.values(np.arange(-99, 99), Kind.F64), high),
    }
    for count in (1, 2, 3, 5, 9):
        smooth = Interpolated(Scaled(25, 3), 4)
        turns = smooth.run(count, lambda guess, places: -(guess >> 3) + places % 3 - 1)[0]
        cases[f"interpolated {count}"] = smooth.grid.values(turns, Kind.F64), smooth
    return cases


@pytest.mark.parametrize("name", alone())
def test_the_reference_agrees_at_the_edges(name: str) -> None:
    stream, proposal = alone()[name]
    assert_reads(stream, one_step(proposal, stream))


def plain(stream: Stream) -> Chain:
    encoded = Plain().encode(stream)
    assert encoded is not None
    return Chain(encoded[0])


@pytest.mark.parametrize("grid", [Octaves(4), Octaves(7, -1076), Interpolated(Scaled(25, 3), 1 << 20)], ids=str)
def test_the_reference_rounds_and_wraps_as_the_library_does(grid: Encoding) -> None:
    integers = np.array([-(2**63), 2**63 - 1, 2**62, 2**61 + 9, *range(-40, 40)])
    chain = Chain(grid, (plain(integers), plain(np.zeros(0, np.uint32)), plain(np.zeros(0, np.uint64))))
    data = assemble(len(integers), [(Shape(Kind.F64, len(integers)), chain)])
    assert Block.of(data).stream()[1] == comparable(decode_values(data, dtype=np.float64, length=len(integers)))


COLUMNS = (9, 4, 2, 7, 5)
"""The numbers of the columns below; chains name them by their place."""


def beside(count: int = 200) -> tuple[pa.Array, ...]:
    n = np.arange(count)
    noise = (n.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    wide = noise.view(np.int64) // (1 << n % 63)
    wide[:7] = -(2**63), 2**63 - 1, -1, 0, 1, 2, 2359
    floats = np.where(n % 11 == 0, -0.0, (n % 40 - 20) / 8)
    floats[5:7] = np.nan, -np.inf
    names = [None if i % 7 == 0 else f"s{i * i % 13}" for i in range(count)]
    return pa.array(noise.view(np.int64)), pa.array(n * n % 7 - 3), pa.array(floats), pa.array(names), pa.array(wide)


def with_columns() -> Iterator[tuple[str, Stream, Encoding]]:
    x, y, z, w = (Expression.parent(place) for place in (0, 1, 2, 4))
    binary = [left(name, right) for name in ("+", "-", "*", "//", "%", "/") for left, right in ((x, y), (y, w), (w, x))]
    unary = [w("clock"), w("minutes"), x("minutes")("clock"), z("*", 8)]
    wide = comparable_numbers()
    for how in HOW:
        for expression in (*binary, *unary):
            yield f"{how} {expression}", wide >> np.int64(30 if how == "residue" else 0), Formula(how, expression)
    small, words_ = (np.arange(200) % 5).astype(np.uint16), strings([b"k%d" % (i * i % 13) for i in range(200)])
    for stream in (small, words_):
        yield "lookup of strings", stream, Lookup((3,))
        yield "lookup of floats and numbers", stream, Lookup((2, 1))
    yield "mixed", small, Mixed((((2 + 3, 0), (0, 1)), ((2 + 2, 2),)))
    yield "text mixed", words_, MixedText(((13 + 3, 0), (13 + 2, 12)))
    experts = (1, 2, 3), (2, 1, 5), (3, 1, 0), (4, 2, 1), (4, 1, 2), (0, 300, 0)
    yield "predicted", wide, Predicted(Predictor(experts, (1, 4), 3), (0, 1, 4))


def comparable_numbers() -> np.ndarray:
    return np.concatenate([beside(100)[0].to_numpy(), np.arange(100) ** 4])


def test_the_reference_knows_what_other_columns_tell() -> None:
    """Under other numbers than their places, with nulls, and with numbers at both ends of 64 bits."""
    known = Known(tuple(Column(array) for array in beside()), 200)
    parents = {name: parent_of_column(values_of(a), a.type) for name, a in zip(COLUMNS, beside(), strict=True)}
    for name, stream, proposal in with_columns():
        try:
            assert_reads(stream, one_step(proposal, stream, known), COLUMNS, parents)
        except AssertionError as error:
            raise AssertionError(name) from error


def test_differences_have_all_but_the_first_row_beside_them() -> None:
    parents = {9: parent_of_column(values_of(beside()[1]), pa.int64())}
    known = Known((Column(beside()[1]),), 200)
    values = np.cumsum(np.arange(200) % 3).astype(np.uint16)
    step, (differences,) = Delta().encode(values) or pytest.fail()
    table = one_step(Lookup((0,)), differences, known.beside(199))
    assert_reads(values, Chain(step, (table,)), (9,), parents)


@pytest.mark.parametrize("kind", ["lists", "dictionary", "decimal"])
def test_streams_of_the_column_itself_have_columns_beside_them(kind: str) -> None:
    one = beside()[1]
    lengths = [None if i % 9 == 0 else abs(v) for i, v in enumerate(one.to_pylist())]
    array = {
        "lists": pa.array([None if v is None else [v] * v for v in lengths], pa.list_(pa.int64())),
        "dictionary": pa.array(lengths, pa.int64()).dictionary_encode(),
        "decimal": pa.array(lengths, pa.int64()).cast(pa.decimal128(38, 0)),
    }[kind]
    data = encode_array(array, "max", beside=Beside((6,), (Column(one),), Hints((((2, 0),),), lookups=((0,),))))
    assert describe(data).parents == (6,)
    assert decoded(data, array.type, {6: parent_of_column(values_of(one), one.type)}) == values_of(array)


@pytest.mark.parametrize("count", [50, 8193, 20_000])
def test_the_reference_counts_floats_as_the_library_does(count: int) -> None:
    n = np.arange(count)
    floats = np.where(n % 40 < 25, n / 100, np.where(n % 3 == 0, n / 1000, np.sqrt(n)))
    for array in (pa.array(floats, mask=n % 19 == 0), pa.array(floats.astype(np.float32))):
        column, parent = Column(array), parent_of_column(values_of(array), array.type)
        assert column.numbers is not None
        assert (column.codes.tolist(), column.numbers.tolist()) == (parent.codes, parent.numbers)


def test_a_sample_of_floats_decides_which_digits_they_have() -> None:
    n = np.arange(8500)
    sampled = np.isin(n, [k * (8500 - 256) // 15 + place for k in range(16) for place in range(256)])
    array = pa.array(np.where(sampled, n / 10, n / 100))
    numbers = Column(array).numbers
    assert numbers is not None and numbers.tolist() == parent_of_column(values_of(array), array.type).numbers
    assert numbers[8499] == 8499
