"""The coders of `mdlake.coding` as leaves: small unsigned integers become bits, near their entropy.

What is coded is the values themselves, so they must be below the coder's largest alphabet; encodings further up the
chain (frame of reference, dictionary, buckets) make them so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from mdlake.coding import CODERS
from mdlake.coding.zstd import ZstdCoder
from mdlake.encodings.known import Known
from mdlake.encodings.plain import from_plain_bytes
from mdlake.encodings.protocol import Encoding, Facts, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import repeats
from mdlake.streams import bits_of, kind_of, numbers, plain_bytes

BYTES = 256
QUICK_ZSTD = ZstdCoder(level=1, thorough=0)
"""For estimates: a sample is far from what the block itself will hold, so a better level would not tell more."""


@dataclass(frozen=True)
class Coded(Encoding):
    """Symbols below `alphabet`, coded by the coder of the same name."""

    id: ClassVar[int]
    name: ClassVar[str]
    alphabet: int = 0
    data: bytes | memoryview = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Self]:
        if facts.kind.is_unsigned and facts.count and facts.high < CODERS[cls.name].max_alphabet:
            yield cls(facts.high + 1)

    def estimate(self, facts: Facts) -> float:
        """The entropy and about a byte a table entry; adaptive and matching coders are tried on the sample."""
        return facts.full_entropy * facts.full_count / 8 + 1.1 * min(facts.full_distinct, self.alphabet) + 8

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Self, tuple[Stream, ...]] | None:
        coder = CODERS[self.name]
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned or len(stream) == 0 or (high := int(stream.max())) >= coder.max_alphabet:
            return None
        return type(self)(high + 1, coder.encode(_symbols(stream, high + 1), high + 1)), ()

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        symbols = CODERS[self.name].decode(self.data, shape.count, self.alphabet)
        return symbols.astype(shape.kind.dtype, copy=False)

    def write(self, writer: Writer) -> None:
        writer.varint(self.alphabet)
        writer.counted(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        alphabet = reader.varint()
        largest = CODERS[cls.name].max_alphabet
        if not shape.kind.is_unsigned or not 1 <= alphabet <= min(largest, 1 << (8 * shape.kind.width)):
            raise CorruptError(f"{cls.name} cannot code {shape.kind.name} with an alphabet of {alphabet}")
        return cls(alphabet, reader.counted())

    def __str__(self) -> str:
        return self.name


class Tried(Coded):
    """A coder whose size only a trial on the sample tells."""

    def estimate(self, facts: Facts) -> float:
        assert isinstance(facts.stream, np.ndarray)
        coded = CODERS[self.name].encode(_symbols(facts.stream, self.alphabet), self.alphabet)
        return len(coded) * facts.scale


class Huffman(Coded):
    id: ClassVar[int] = 3
    name: ClassVar[str] = "huffman"


class Rans(Coded):
    id: ClassVar[int] = 4
    name: ClassVar[str] = "rans"


class RansOrder1(Coded):
    id: ClassVar[int] = 30
    name: ClassVar[str] = "rans_order1"

    def estimate(self, facts: Facts) -> float:
        """What a symbol adds to the one before it, and a byte for every pair that the tables will have; with as much
        doubt as there are pairs that the sample has not seen."""
        symbols = numbers(facts.stream)
        pairs = Facts(symbols[:-1].astype(np.uint32) * np.uint32(self.alphabet) + symbols[1:], facts.full_count)
        added = max(pairs.full_entropy - facts.full_entropy, 0.0)
        added = pairs.covered * added + (1 - pairs.covered) * facts.full_entropy
        return added * facts.full_count / 8 + 1.1 * (pairs.full_distinct + facts.distinct) + 12


class Range(Coded):
    id: ClassVar[int] = 5
    name: ClassVar[str] = "range"

    def estimate(self, facts: Facts) -> float:
        """The entropy, and half a byte for every symbol that its model has to learn; there is no table."""
        return facts.entropy * facts.full_count / 8 + 0.5 * facts.distinct + 4


class Lz77(Tried):
    id: ClassVar[int] = 6
    name: ClassVar[str] = "lz77"


class Lzw(Tried):
    id: ClassVar[int] = 7
    name: ClassVar[str] = "lzw"


@dataclass(frozen=True)
class Zstd(Encoding):
    """Zstandard (RFC 8878) over the plain bytes of any stream: always a candidate."""

    id: ClassVar[int] = 2
    name: ClassVar[str] = "zstd"
    coder: ClassVar[ZstdCoder] = ZstdCoder()
    data: bytes | memoryview = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Zstd]:
        yield cls()

    def estimate(self, facts: Facts) -> float:
        return len(QUICK_ZSTD.encode(_plain(facts.stream), BYTES)) * facts.scale

    def hopeless(self, facts: Facts, stream: Stream, limit: int) -> bool:
        """By the entropy of numbers that are not repeated; else by a quick trial, of which the rest saves a quarter."""
        if isinstance(stream, np.ndarray):
            table = np.full(1 << repeats.TABLE_BITS, -1, np.int64)
            fresh = 1 - repeats.repeated(bits_of(np.ascontiguousarray(stream)), table)
            if 1.1 * fresh * facts.entropy * facts.full_count / 8 > limit:
                return True
        return 0.75 * len(QUICK_ZSTD.encode(_plain(stream), BYTES)) > limit

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Zstd, tuple[Stream, ...]] | None:
        return type(self)(self.coder.encode(_plain(stream), BYTES)), ()

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        return from_plain_bytes(self.coder.decode(self.data, shape.plain, BYTES).data, shape)

    def write(self, writer: Writer) -> None:
        writer.counted(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Zstd:
        return cls(reader.counted())

    def __str__(self) -> str:
        return self.name


class SwiftZstd(Zstd):
    """The same, thorough with little only."""

    coder: ClassVar[ZstdCoder] = ZstdCoder(thorough=1 << 13)


class FastZstd(Zstd):
    """The same, never thorough."""

    coder: ClassVar[ZstdCoder] = ZstdCoder(level=6, thorough=1 << 11)


def _plain(stream: Stream) -> np.ndarray:
    return np.frombuffer(plain_bytes(stream), np.uint8)


def _symbols(stream: np.ndarray, alphabet: int) -> np.ndarray:
    return np.ascontiguousarray(stream, np.uint8 if alphabet <= BYTES else np.uint16)
