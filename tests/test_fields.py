"""Strings that look alike become columns of numbers and words, and come back bit for bit."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_encodings import assert_round_trip, read, written

from mdlake.block import decode_array, encode_array
from mdlake.encodings.facts import Facts
from mdlake.encodings.fields import CUTS, Fields
from mdlake.encodings.protocol import Shape
from mdlake.errors import MdlakeError
from mdlake.streams import Strings

NUMBERS = st.one_of(st.integers(0, 99), st.integers(0, 10**20), st.just(0)).map(str)
FIELDS = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, st.integers(1, 8)).map(lambda pair: pair[0].zfill(pair[1])),
    st.binary(min_size=1, max_size=20).map(bytes.hex),
    st.binary(min_size=1, max_size=3).map(lambda value: value.hex().upper()),
    st.sampled_from(["", "red", "Blue", "ümlaut", "a1", "\0"]),
)


def strings(values: list[bytes]) -> Strings:
    return Strings.of(np.array([len(value) for value in values], np.int64), np.frombuffer(b"".join(values), np.uint8))


@st.composite
def alike(draw: st.DrawFn) -> Strings:
    """Rows of a few patterns, and some of none."""
    patterns = draw(
        st.lists(st.lists(st.sampled_from(["-", ":", " id ", "%", "T"]), max_size=4), min_size=1, max_size=3)
    )
    rows = draw(st.lists(st.sampled_from(patterns), min_size=16, max_size=60))
    lines = ["%".join(f"{draw(FIELDS)}{between}" for between in row) for row in rows]
    return strings([line.encode() for line in lines] + draw(st.lists(st.binary(max_size=30), max_size=3)))


@pytest.mark.parametrize("cut", CUTS, ids=str)
@given(stream=alike())
@settings(max_examples=30, deadline=None)
def test_every_way_to_cut_gives_the_strings_back(cut: object, stream: Strings) -> None:
    assert_round_trip(Fields(cut), stream)  # type: ignore[arg-type]


def test_damaged_fields_raise_or_decode_but_never_crash() -> None:
    values = [b"2024-01-%02d ab%02d w%d %s" % (i % 28 + 1, i, i * 7919, b"xyz"[i % 2 :]) for i in range(40)]
    stream = strings([*values, b"no such thing", b"2024-01-5"])
    for cut in CUTS:
        result = written(Fields(cut), stream)
        assert result is not None
        data = result[0]
        for position in range(len(data)):
            for variant in (data[:position], *(_flipped(data, position, bit) for bit in range(8))):
                try:
                    again = read(variant, Shape.of(stream))
                except MdlakeError:
                    continue
                assert len(again) == len(stream)


def _flipped(data: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


RNG = np.random.default_rng(7)
SECONDS = np.datetime64("2024-01-01T00:00:00") + np.cumsum(RNG.integers(0, 20, 20_000))
COLUMNS = {
    "counters": ([f"Customer#{i:09d}" for i in range(20_000)], 0.1),
    "times": ([str(second).replace("T", " ") for second in SECONDS], 6.0),
    "identifiers": ([str(uuid.UUID(bytes=RNG.bytes(16), version=4)) for _ in range(20_000)], 124.0),
    "addresses": ([".".join(map(str, RNG.integers(0, 256, 4))) for _ in range(20_000)], 32.5),
    "prices": ([f"{price:.2f}" for price in RNG.integers(0, 100_000, 20_000) / 100], 17.0),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("effort", ["fast", "default"])
def test_structured_strings_take_about_the_bits_that_are_in_them(name: str, effort: str) -> None:
    values, bits = COLUMNS[name]
    array = pa.array(values)
    block = encode_array(array, effort)
    assert decode_array(block, array.type, length=len(array)).equals(array)
    assert 8 * len(block) / len(array) < bits


def test_text_and_noise_are_no_fields() -> None:
    noise = strings([RNG.bytes(int(size)) for size in RNG.integers(1, 40, 2000)])
    text = strings(
        [b" ".join(RNG.choice([b"lake", b"of", b"data", b"is"], size=size)) for size in RNG.integers(1, 40, 2000)]
    )
    assert [list(Fields.propose(Facts(stream, 2000))) for stream in (noise, text)] == [[], []]
