"""Promise: floats of any shape come back bit for bit, in fewer bytes if rows differ in scale; hostile bytes raise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_format import decoded_values

from mdlake.arena import allocate
from mdlake.block import decode_values, describe
from mdlake.coding import rans_rows
from mdlake.encodings import ENCODINGS
from mdlake.encodings.chain import Budget, Chain, read_chain
from mdlake.encodings.protocol import Shape
from mdlake.encodings.weights import Weights
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError
from mdlake.kernels import expanding
from mdlake.streams import bits_of, same
from mdlake.weights import encode_weights
from mdlake.wire import Reader, Writer

DTYPES = np.float16, np.uint16, np.float32, np.float64
ODD = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-40, 65504.0]


def normal(rows: int, columns: int, dtype: type[np.generic], seed: int = 1) -> np.ndarray:
    """Rows of a bell curve, of four scales; bfloat16 as its patterns."""
    noise = np.random.default_rng(seed).normal(size=(rows, columns)) * 2.0 ** -(np.arange(rows) % 4)[:, None]
    if dtype is np.uint16:
        return (noise.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).ravel()
    return noise.astype(dtype).ravel()


def assert_comes_back(values: np.ndarray, row: int = 0, effort: str = "fast") -> bytes:
    data = encode_weights(values, row, effort)
    assert same(decode_values(data, dtype=values.dtype, length=len(values)), values)
    return data


@st.composite
def patterns(draw: st.DrawFn) -> np.ndarray:
    """Any bits, so NaNs of all payloads too."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return draw(hnp.arrays(unsigned, st.integers(0, 400), elements=hnp.from_dtype(unsigned))).view(dtype)


@given(values=patterns(), row=st.integers(0, 90))
@settings(max_examples=150, deadline=None)
def test_any_bits_come_back(values: np.ndarray, row: int) -> None:
    assert_comes_back(values, row)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 70_001), (300, 384), (7, 5001), (40_000, 3), (2000, 37)])
def test_tensors_of_all_shapes_come_back(dtype: type[np.generic], rows: int, columns: int) -> None:
    values = normal(rows, columns, dtype)
    values[5 :: len(values) // 50] = 0
    if dtype is not np.uint16:
        with np.errstate(over="ignore"):
            values[: len(ODD)] = ODD
        bits_of(values)[9] = (bits_of(np.array([np.nan], dtype))[0] | 5).astype(bits_of(values).dtype)
    data = assert_comes_back(values, columns if rows > 1 else 0)
    assert describe(data).chain.startswith("weights")
    assert len(data) < 0.96 * values.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_decodes_them(dtype: type[np.generic]) -> None:
    for values, row in ((normal(90, 384, dtype), 384), (normal(1, 5003, dtype), 0), (normal(3, 11, dtype), 11)):
        values[7::1000] = 0
        assert decoded_values(assert_comes_back(values, row)) == bits_of(values).tolist()


def test_rows_of_different_scale_have_tables_of_their_own() -> None:
    values = normal(400, 384, np.uint16)
    assert len(assert_comes_back(values, 384)) < 0.985 * len(assert_comes_back(values))


@pytest.mark.parametrize(("narrow", "share"), [(np.float16, 0.53), (np.uint16, 0.34)])
def test_rows_of_narrower_numbers_keep_only_their_bits(narrow: type[np.generic], share: float) -> None:
    half = normal(300, 384, narrow)
    values = (half.astype(np.uint32) << 16).view(np.float32) if narrow is np.uint16 else half.astype(np.float32)
    assert len(assert_comes_back(values, 384)) < share * values.nbytes
    mixed = np.concatenate([values, normal(300, 384, np.float32)])
    assert len(assert_comes_back(mixed, 384)) < (share + 0.84) / 2 * mixed.nbytes


def test_constants_zeros_and_few_values_are_left_to_what_suits_them() -> None:
    assert len(assert_comes_back(np.full(100_000, -0.0, np.float32))) < 30
    pruned = np.where(np.arange(100_000) % 10 == 0, normal(1, 100_000, np.float32), 0).astype(np.float32)
    assert len(assert_comes_back(pruned)) < 0.15 * pruned.nbytes
    assert len(assert_comes_back(np.sign(normal(100, 384, np.float16)), 384)) < 0.1 * 2 * 38_400
    assert_comes_back(np.zeros(0, np.float64))
    assert_comes_back(normal(1, 1, np.float32), effort="max")


@pytest.mark.parametrize("values", [normal(300, 384, np.float32), np.zeros(70, np.float16), np.empty(0, np.float64)])
def test_they_come_back_into_memory_that_there_is(values: np.ndarray) -> None:
    data = encode_weights(values)
    first, out, last = allocate([(np.dtype(np.uint8), 3), (values.dtype, len(values)), (np.dtype(np.float64), 2)])
    first[:], last[:] = 7, 7
    assert decode_values(data, dtype=values.dtype, length=len(values), out=out) is out
    assert same(out, values) and set(first) | set(last) == {7}
    assert all(array.ctypes.data % 64 == 0 and array.flags.writeable for array in (first, out, last) if array.size)


@pytest.mark.parametrize("out", [np.empty(9, np.float32), np.empty(8), np.empty(16, np.float32)[::2]])
def test_memory_that_does_not_fit_is_refused(out: np.ndarray) -> None:
    data = encode_weights(np.ones(8, np.float32))
    with pytest.raises(InvalidArgumentError, match="out is"):
        decode_values(data, dtype=np.float32, length=8, out=out)


def test_other_dtypes_and_shapes_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="not int32"):
        encode_weights(np.zeros(4, np.int32))
    with pytest.raises(InvalidArgumentError, match="ravel"):
        encode_weights(np.zeros((2, 2), np.float32))
    swapped = normal(3, 100, np.float32)
    assert encode_weights(swapped.astype(">f4"), 100) == encode_weights(swapped, 100)


def test_both_ways_to_code_a_step_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever this runs: where the processor is too old for one of them, that is only slower."""
    values, blocks = normal(300, 384, np.float16), set()
    for fits in (True, False):
        monkeypatch.setattr(expanding, "FITS", fits)
        blocks.add(encode_weights(values, 384))
        assert all(same(decode_values(data, dtype=np.float16, length=len(values)), values) for data in blocks)
    assert len(blocks) == 1


def written(values: np.ndarray, length: int) -> bytes:
    encoded = Weights(length).encode(values)
    assert encoded is not None
    plain = ENCODINGS[0]()
    children = tuple(Chain(plain.encode(child)[0]) for child in encoded[1])  # type: ignore[index]
    writer = Writer()
    Chain(encoded[0], children).write(writer)
    return writer.getvalue()


@pytest.mark.parametrize("dtype", DTYPES)
def test_damaged_bytes_raise_or_decode_but_never_crash(dtype: type[np.generic]) -> None:
    """Of many lanes and of one; at each byte three bits are changed, and there it is cut."""
    for values, length in ((normal(20, 128, dtype), 128), (normal(3, 20, dtype), 20)):
        data, shape = written(values, length), Shape.of(values)
        for position in range(len(data) if len(values) < 100 else 700):
            for bit in (0, 3, 7):
                damaged = bytearray(data)
                damaged[position] ^= 1 << bit
                for variant in (bytes(damaged), data[:position]):
                    try:
                        again = read_chain(Reader(variant), shape, Budget.of(1 << 24)).decode(shape)
                    except MdlakeError:
                        continue
                    assert len(again) == len(values)


def test_numbers_that_nothing_has_earned_allocate_nothing() -> None:
    huge = Writer()
    huge.byte(Weights.id)
    for field in (1, 4, 0, 1, 0):
        huge.byte(field)
    huge.varint(1 << 40)
    for _ in range(2):
        huge.counted(b"")
    for _ in range(2):  # of each row: a constant 0
        huge.raw(b"\x01\x00")
    with pytest.raises(CorruptError, match="decoding needs more"):
        read_chain(Reader(huge.getvalue()), Shape.of(np.zeros(4, np.uint16)), Budget.of(1_000_000))


def test_lanes_are_not_more_than_a_row_has_or_symbols_pay_for() -> None:
    for rows, length, lanes in ((300, 384, 64), (5000, 40, 32), (1, 100, 1), (1, 4096, 4)):
        tables = np.zeros(rows, np.uint8)
        frequencies = np.zeros((1, 256), np.int64)
        frequencies[0, :2] = 2048
        coded = rans_rows.encode_rows(np.ones(rows * length, np.uint8), length, tables, frequencies)
        assert 1 << coded.tables[0] == lanes
        decoder, symbols = rans_rows.RowDecoder(coded.tables, coded.words, 1), np.zeros(rows * length, np.uint8)
        decoder.take(tables, length, symbols)
        decoder.finish()
        assert bool((symbols == 1).all())
