"""Text becomes numbers of words: shorter than a general compressor has it, and back bit for bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from test_encodings import assert_round_trip, read, written

from mdlake.block import decode_array, encode_array
from mdlake.encodings.protocol import Shape
from mdlake.encodings.words import Words
from mdlake.errors import MdlakeError
from mdlake.streams import Strings

PIECES = [b" ", b"  ", b", ", b"lake", b"of", b"a1", b"7", b"\xc3\xbc", b"\0", b"-", b"\n"]


def strings(values: list[bytes]) -> Strings:
    return Strings.of(np.array([len(value) for value in values], np.int64), np.frombuffer(b"".join(values), np.uint8))


@given(rows=st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(rows: list[bytes]) -> None:
    assert assert_round_trip(Words(), strings(rows))


def test_damaged_words_raise_or_decode_but_never_crash() -> None:
    stream = strings([b"to be, or not to be", b"", b"that is", b" the  question."])
    result = written(Words(), stream)
    assert result is not None
    for position in range(len(result[0])):
        for bit in range(8):
            damaged = bytearray(result[0])
            damaged[position] ^= 1 << bit
            for variant in (bytes(damaged), result[0][:position]):
                try:
                    assert len(read(variant, Shape.of(stream))) == len(stream)
                except MdlakeError:
                    continue


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_text_of_few_words_is_a_fifth_shorter_than_zstandard_has_it(effort: str) -> None:
    rng = np.random.default_rng(3)
    words = np.array(["".join(chr(97 + c) for c in rng.integers(0, 26, size)) for size in rng.integers(3, 10, 800)])
    follows = rng.integers(0, 800, (800, 12))
    rows = []
    for length in rng.integers(4, 14, 8000):
        word, row = int(rng.integers(800)), []
        for choice in rng.geometric(0.35, length):
            row.append(words[word])
            word = int(follows[word, choice % 12])
        rows.append(" ".join(row) + (", " if length % 3 else "."))
    array = pa.array(rows)
    block = encode_array(array, effort)
    assert decode_array(block, array.type, length=len(array)).equals(array)
    assert len(block) < 0.8 * len(zstandard.compress("\n".join(rows).encode(), 19))
