"""A block holds any Arrow array, is never larger than zstd of it, and never gives back other data than was put in."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from strategies import arrow_arrays, numeric_streams

from mdlake import block
from mdlake.block import HEADER_SIZE, decode_array, decode_values, encode_array, encode_values
from mdlake.columns import flatten
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, TruncatedError, UnsupportedVersionError
from mdlake.streams import plain_bytes, same

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def bits(array: pa.Array) -> bytes:
    """The array in Arrow's IPC format, compact and without what is under nulls: equal bytes are equal bits."""
    parts = [repr(array.type)]
    for role, stream in flatten(array):
        parts.append(f"{role} {plain_bytes(stream).hex()}")
    return "\n".join(parts).encode()


def is_valid(array: pa.Array) -> bool:
    """Whether Arrow finds nothing wrong in it: bit patterns are drawn freely, also days that are none."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@given(array=arrow_arrays())
@settings(SLOW, max_examples=200)
def test_any_array_comes_back_bit_for_bit(array: pa.Array) -> None:
    data = encode_array(array, "fast")
    back = decode_array(data, array.type, length=len(array))
    back.validate(full=is_valid(array))
    assert back.type.equals(array.type, check_metadata=True) and bits(back) == bits(array)


@given(values=numeric_streams())
@settings(SLOW, max_examples=40)
@pytest.mark.parametrize("effort", block.EFFORTS)
def test_any_vector_comes_back_bit_for_bit(effort: str, values: np.ndarray) -> None:
    data = encode_values(values, effort)
    assert same(decode_values(data, dtype=values.dtype, length=len(values)), values)
    assert data == encode_values(values.copy(), effort)


def test_text_has_a_coder_of_its_own() -> None:
    names = pa.array([f"item {n * 7919 % 5003} of lot {n % 17}" for n in range(2000)])
    data = encode_array(names, coders=("text_mixed",))
    assert "text_mixed" in block.describe(data).chain
    assert decode_array(data, pa.string(), length=2000).equals(names)


@pytest.mark.parametrize("coder", [coder for coder in block.CODERS if coder != "text_mixed"])
def test_each_coder_can_be_chosen(coder: str) -> None:
    values = np.random.default_rng(1).geometric(0.3, 5000).astype(np.uint8)
    data = encode_values(values, coders=(coder,))
    assert coder in block.describe(data).chain
    assert same(decode_values(data, dtype=np.uint8, length=5000), values)


def test_nan_payloads_negative_zeros_and_nulls_are_kept() -> None:
    patterns = np.array(
        [0x7FF8000000000001, 0x7FF0000000000002, 0xFFF8DEADBEEF0000, 1 << 63, 0, 0x3FF8 << 48], np.uint64
    )
    array = pa.array([*patterns.view(np.float64)] * 50 + [None] * 7)
    array = pa.concat_arrays([pa.Array.from_buffers(pa.float64(), 6, [None, pa.py_buffer(patterns)]), array])
    back = decode_array(encode_array(array), pa.float64(), length=len(array))
    assert bits(back) == bits(array) and back.null_count == 7


@pytest.mark.parametrize("effort", block.EFFORTS)
@pytest.mark.parametrize("kind", ["random", "text", "ramp", "runs", "floats"])
def test_never_larger_than_zstd_of_the_plain_values(kind: str, effort: str) -> None:
    rng = np.random.default_rng(7)
    arrays = {
        "random": pa.array(rng.integers(0, 1 << 62, 3000)),
        "text": pa.array([f"https://example.org/{i % 91}/{i * i}" for i in range(3000)]),
        "ramp": pa.array(np.arange(3000) * 3600),
        "runs": pa.array(np.repeat(rng.integers(0, 9, 60), 50)),
        "floats": pa.array(rng.normal(size=3000)),
    }
    array = arrays[kind]
    plain = b"".join(bytes(buffer) for buffer in array.buffers()[1:] if buffer)
    limit = len(zstandard.ZstdCompressor(level=9).compress(plain)) + 40
    assert len(encode_array(array, effort)) <= limit


def test_every_truncation_and_every_flipped_bit_raises() -> None:
    array = pa.array(["alpha", None, "beta", "alpha"] * 5)
    data = encode_array(array)
    for cut in range(len(data)):
        with pytest.raises((TruncatedError, CorruptError)):
            decode_array(data[:cut], array.type, length=20)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises((CorruptError, UnsupportedVersionError)):
            decode_array(bytes(damaged), array.type, length=20)


@given(array=arrow_arrays(max_size=8))
@settings(SLOW, max_examples=40)
def test_hostile_bytes_with_a_valid_checksum_raise_one_of_the_kinds(array: pa.Array) -> None:
    """Someone who knows the format can forge the checksum; the decoder must hold out all the same."""
    data = encode_array(array, "fast")
    for position in range(HEADER_SIZE, len(data)):
        body = bytearray(data[HEADER_SIZE:])
        body[position - HEADER_SIZE] ^= 1 << (position % 8)
        forged = data[:5] + struct.pack("<I", zlib.crc32(bytes(body))) + bytes(body)
        try:
            back = decode_array(forged, array.type, length=len(array), max_bytes=1 << 26)
            back.validate(full=True)
        except (MdlakeError, pa.ArrowInvalid):
            continue
        assert len(back) == len(array)


def test_a_size_that_the_bytes_have_not_earned_is_refused() -> None:
    huge = encode_values(np.zeros(1 << 16, np.uint64))
    with pytest.raises(CorruptError, match="bytes allowed"):
        decode_values(huge, dtype=np.uint64, length=1 << 16, max_bytes=1 << 10)


def test_wrong_requests_say_what_to_do() -> None:
    with pytest.raises(InvalidArgumentError, match="choose one of fast, default, max"):
        encode_array(pa.array([1]), "best")
    with pytest.raises(InvalidArgumentError, match="choose of"):
        encode_array(pa.array([1]), coders=("gzip",))
    with pytest.raises(InvalidArgumentError, match="cast the column"):
        encode_array(pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]))
    with pytest.raises(InvalidArgumentError, match="cast them"):
        encode_values(np.array([1j]))
    with pytest.raises(InvalidArgumentError, match="ravel"):
        encode_values(np.zeros((2, 2)))
    data = encode_array(pa.array([1, 2, 3]))
    with pytest.raises(CorruptError, match="holds 3 values, expected 4"):
        decode_array(data, pa.int64(), length=4)
    with pytest.raises(CorruptError, match="expected 3 of I32"):
        decode_array(data, pa.int32(), length=3)
    with pytest.raises(UnsupportedVersionError):
        decode_array(data[:4] + b"\x03" + data[5:], pa.int64(), length=3)


def test_big_endian_and_strided_vectors_are_the_same_block() -> None:
    values = np.arange(100, dtype=np.int32)
    assert encode_values(values.astype(">i4")) == encode_values(values) == encode_values(np.repeat(values, 2)[::2])


def test_one_huge_value() -> None:
    array = pa.array([b"x" * 3_000_000, None, bytes(range(256)) * 4000])
    assert decode_array(encode_array(array, "fast"), array.type, length=3).equals(array)
