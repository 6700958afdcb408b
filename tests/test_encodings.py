"""Every encoding gives back what it was given, bit for bit, and refuses what it cannot have written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import NUMERIC, numeric_streams, streams

from mdlake.encodings import ENCODINGS, LEAVES, STEPS, Encoding
from mdlake.encodings.bit_fields import BitSplit
from mdlake.encodings.chain import Budget, Chain, read_chain
from mdlake.encodings.facts import Facts
from mdlake.encodings.floats import Decimal
from mdlake.encodings.interpolated import Interpolated
from mdlake.encodings.octaves import Octaves
from mdlake.encodings.protocol import Shape
from mdlake.encodings.scaled import Scaled
from mdlake.encodings.weights import Weights
from mdlake.errors import CorruptError, MdlakeError
from mdlake.kernels import bits
from mdlake.streams import Kind, Stream, Strings, kind_of, same
from mdlake.wire import Reader, Writer

TAKES = {name: [Kind.U8, Kind.U16, Kind.U32, Kind.U64] for name in ("bit_pack", "bit_split", "buckets")}
TAKES |= {"zigzag": [Kind.I8, Kind.I16, Kind.I32, Kind.I64], "decimal": [Kind.F16, Kind.F32, Kind.F64]}
TAKES |= {name: TAKES["decimal"] for name in ("scaled", "octaves", "interpolated")}
TAKES |= {"float_bits": TAKES["decimal"], "byte_planes": NUMERIC}
TAKES |= {name: [k for k in Kind if k.is_integer] for name in ("delta", "frame_of_reference")}
TAKES |= {"weights": [Kind.U16, *TAKES["decimal"]]}
CONFIGURATIONS: dict[str, list[Encoding]] = {
    "decimal": [Decimal(digits) for digits in (0, 2, 15)],
    "bit_split": [BitSplit(low) for low in (1, 3, 7)],
    "scaled": [Scaled(), Scaled(25, 2), Scaled(7, -3), Scaled(1, 300)],
    "interpolated": [Interpolated(Scaled(1, 2), 3), Interpolated(Scaled(1, 20), 1 << 20)],
    "weights": [Weights(), Weights(1), Weights(7), Weights(300)],
    "octaves": [Octaves(), Octaves(377, -20), Octaves(1 << 40, -1100)],
}


def written(encoding: Encoding, stream: Stream) -> tuple[bytes, Chain] | None:
    """The stream by this encoding, its children plain."""
    encoded = encoding.encode(stream)
    if encoded is None:
        return None
    plain = ENCODINGS[0]()
    chain = Chain(encoded[0], tuple(Chain(plain.encode(child)[0]) for child in encoded[1]))  # type: ignore[index]
    writer = Writer()
    chain.write(writer)
    return writer.getvalue(), chain


def read(data: bytes, shape: Shape) -> Stream:
    reader = Reader(data)
    chain = read_chain(reader, shape, Budget.of(1 << 30))
    if reader.remaining:
        raise CorruptError("bytes are left over")
    return chain.decode(shape)


def assert_round_trip(encoding: Encoding, stream: Stream) -> bool:
    result = written(encoding, stream)
    if result is None:
        return False
    data, chain = result
    assert len(data) == len(chain)
    assert same(read(data, Shape.of(stream)), stream)
    return True


@pytest.mark.parametrize("encoding", STEPS, ids=lambda e: e.name)
@given(stream=streams())
@settings(max_examples=50, deadline=None)
def test_a_proposed_step_gives_the_stream_back(encoding: type[Encoding], stream: Stream) -> None:
    for proposal in encoding.propose(Facts(stream, len(stream))):
        assert_round_trip(proposal, stream)


@pytest.mark.parametrize("name", sorted(TAKES))
@given(stream=numeric_streams(min_size=1))
@settings(max_examples=40, deadline=None)
def test_a_step_gives_back_streams_it_did_not_propose_itself_for(name: str, stream: np.ndarray) -> None:
    encoding = next(e for e in STEPS if e.name == name)
    if kind_of(stream) not in TAKES[name]:
        stream = stream.view(np.uint8).copy().repeat(8)[: 8 * len(stream)].view(TAKES[name][-1].dtype)
    configurations = CONFIGURATIONS.get(name, [encoding()])
    taken = [assert_round_trip(configuration, stream) for configuration in configurations]
    assert any(taken) or name == "bit_pack"  # values of more than 56 bits cannot be packed


@pytest.mark.parametrize("encoding", LEAVES, ids=lambda e: e.name)
@given(stream=streams())
@settings(max_examples=50, deadline=None)
def test_a_proposed_leaf_gives_the_stream_back(encoding: type[Encoding], stream: Stream) -> None:
    for proposal in encoding.propose(Facts(stream, len(stream))):
        assert_round_trip(proposal, stream)


@pytest.mark.parametrize("encoding", STEPS, ids=lambda e: e.name)
@given(stream=streams(min_size=2))
@settings(max_examples=20, deadline=None)
def test_damaged_bytes_raise_or_decode_but_never_crash(encoding: type[Encoding], stream: Stream) -> None:
    proposals = list(encoding.propose(Facts(stream, len(stream))))[:1]
    for proposal in proposals:
        result = written(proposal, stream)
        if result is None:
            continue
        data, shape = result[0][:80], Shape.of(stream)
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << (position % 8)
            for variant in (bytes(damaged), data[:position]):
                try:
                    again = read(variant, shape)
                except MdlakeError:
                    continue
                assert len(again) == len(stream)


def test_numbers_and_names_are_unique_and_never_change() -> None:
    assert sorted((e.id, e.name) for e in (*LEAVES, *STEPS)) == [
        *((0, "plain"), (1, "constant"), (2, "zstd"), (3, "huffman"), (4, "rans"), (5, "range"), (6, "lz77")),
        *((7, "lzw"), (8, "delta"), (9, "zigzag"), (10, "frame_of_reference"), (11, "run_length")),
        *((12, "dictionary"), (13, "bit_pack"), (14, "bit_split"), (15, "byte_planes"), (16, "buckets")),
        *((17, "decimal"), (18, "float_bits"), (19, "lengths"), (20, "front_coding"), (21, "mixed")),
        *((22, "text_mixed"), (23, "formula"), (24, "predicted"), (25, "lookup"), (26, "partition"), (27, "scaled")),
        *((28, "fields"), (29, "words"), (30, "rans_order1"), (31, "split"), (32, "octaves"), (33, "interpolated")),
        *((34, "composed"), (35, "weights"), (36, "matrices")),
    ]


def test_a_field_too_wide_for_memory_is_refused_before_it_is_allocated() -> None:
    constant = Writer()
    constant.byte(1)
    constant.counted(b"\x07")
    with pytest.raises(CorruptError, match="decoding needs more than the 1,000,000 bytes"):
        read_chain(Reader(constant.getvalue()), Shape(Kind.U64, 1 << 40), Budget.of(1_000_000))


def test_strings_that_claim_more_text_than_they_have_are_refused() -> None:
    words = Strings.of(np.array([1, 1, 1, 1]), np.frombuffer(b"abab", np.uint8))
    for encoding in STEPS:
        for proposal in encoding.propose(Facts(words, 4)):
            result = written(proposal, words)
            assert result is not None
            with pytest.raises(MdlakeError):
                read(result[0], Shape(Kind.STRINGS, 4, 5))


@pytest.mark.parametrize("width", [1, 7, 8, 13, 31, 56])
def test_kernels_stay_in_bounds(width: int) -> None:
    """The same code as Python, where an index beyond an array raises."""
    values = (np.arange(37, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) & np.uint64((1 << width) - 1)
    data = np.zeros((37 * width + 7) // 8, np.uint8)
    back = np.empty(37, np.uint64)
    with np.errstate(over="ignore"):
        bits.pack.py_func(values, width, data)
        bits.unpack.py_func(data, width, back)
    assert np.array_equal(values, back)
