"""FORMAT.md, Block: the frame, and which number is which encoding."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import binary, coders, composed, floats, integers, matrices, mixed, numbers, strings, text_mixed, weights
from .reader import Kind, Parent, Place, Reader, Unknown, Values, check

CODERS = {
    "raw": coders.raw,
    "huffman": coders.huffman,
    "rans": coders.rans,
    "rans_order1": coders.rans_order1,
    "range": binary.range_,
    "lz77": coders.lz77,
    "lzw": coders.lzw,
    "zstd": coders.zstd,
}


def coder(decode: Callable[[bytes, int, int], list[int]]) -> Callable[[Place], Values]:
    def encoding(place: Place) -> Values:
        alphabet = place.reader.varint()
        return decode(place.reader.counted(), place.count, alphabet)

    return encoding


ENCODINGS: dict[int, Callable[[Place], Values]] = {
    0: integers.plain,
    1: integers.constant,
    2: integers.zstd,
    3: coder(CODERS["huffman"]),
    4: coder(CODERS["rans"]),
    5: coder(CODERS["range"]),
    6: coder(CODERS["lz77"]),
    7: coder(CODERS["lzw"]),
    8: integers.delta,
    9: integers.zigzag,
    10: integers.frame_of_reference,
    11: integers.run_length,
    12: integers.dictionary,
    13: integers.bit_pack,
    14: integers.bit_split,
    15: integers.byte_planes,
    16: integers.buckets,
    17: floats.decimal,
    18: floats.float_bits,
    19: strings.lengths,
    20: strings.front_coding,
    21: mixed.mixed,
    22: text_mixed.text_mixed,
    23: numbers.formula,
    24: numbers.predicted,
    25: integers.lookup,
    26: integers.partition,
    27: floats.scaled,
    28: strings.fields,
    29: strings.words,
    30: coder(CODERS["rans_order1"]),
    31: strings.split,
    32: floats.octaves,
    33: floats.interpolated,
    34: composed.composed,
    35: weights.weights,
    36: matrices.matrices,
}


def decode_chain(place: Place) -> Values:
    number = place.reader.u8()
    check(place.depth <= 17, "chain too deep")
    if number not in ENCODINGS:
        raise Unknown(f"encoding {number}")
    values = ENCODINGS[number](place)
    check(len(values) == place.count, f"encoding {number}: {len(values)} values of {place.count}")
    if place.kind is Kind.STRINGS:
        check(sum(map(len, values)) == place.text, f"encoding {number}: text")
    return values


@dataclass
class Block:
    """A block whose checksum is right; `stream` decodes the next of its streams."""

    length: int
    columns: list[int]
    reader: Reader

    @classmethod
    def of(cls, data: bytes) -> Block:
        check(data[:4] == b"MDLB" and data[4] in (1, 2), "not a block of a known version")
        check(int.from_bytes(data[5:9], "little") == zlib.crc32(data[9:]), "checksum")
        reader = Reader(data[9:])
        length = reader.varint()
        columns = [reader.varint() for _ in range(reader.varint(64))] if data[4] == 2 else []
        return cls(length, columns, reader)

    def beside(self, parents: Mapping[int, Parent]) -> tuple[Parent, ...]:
        return tuple(parents[column] for column in self.columns)

    def stream(self, parents: tuple[Parent, ...] = ()) -> tuple[Kind, Values]:
        """A stream, by what its parents hold beside its values."""
        kind, count = self.reader.kind(), self.reader.varint()
        text = self.reader.varint() if kind is Kind.STRINGS else 0
        return kind, decode_chain(Place(self.reader, decode_chain, kind, count, text, parents, 0 if parents else None))
