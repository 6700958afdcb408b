"""Integers as bit fields: packed at their width, split into high and low bits, in buckets, or by bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import bits as kernel
from mdlake.streams import UNSIGNED, bits_of, kind_of, numbers, smallest_unsigned

MAX_PACKED_WIDTH = 56


@dataclass(frozen=True)
class BitPack(Encoding):
    """Values below 2^width in `width` bits each, without gaps; the child is the bytes."""

    id: ClassVar[int] = 13
    name: ClassVar[str] = "bit_pack"
    packed: ClassVar[int | None] = 0
    roles: ClassVar[tuple[str, ...]] = ("packed bits",)
    width: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[BitPack]:
        if facts.kind.is_unsigned and facts.count and 0 < facts.high.bit_length() < 8 * facts.kind.width:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[BitPack, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned or len(stream) == 0:
            return None
        width = max(1, int(stream.max()).bit_length())
        if width > MAX_PACKED_WIDTH:
            return None
        return BitPack(width), (pack(stream, width),)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(Kind.U8, packed_size(shape.count, self.width)),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        data = numbers(children[0])
        return unpack(data, self.width, shape.count).astype(shape.kind.dtype, copy=False)

    def write(self, writer: Writer) -> None:
        writer.byte(self.width)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> BitPack:
        width = reader.byte()
        if not shape.kind.is_unsigned or not 1 <= width <= min(MAX_PACKED_WIDTH, 8 * shape.kind.width):
            raise CorruptError(f"{shape.kind.name} cannot be packed at {width} bits")
        return cls(width)

    def __str__(self) -> str:
        return f"{self.name}[{self.width}]"


@dataclass(frozen=True)
class BitSplit(Encoding):
    """The low `low` bits packed, where they are noise; the high bits on their own, where they are not."""

    id: ClassVar[int] = 14
    name: ClassVar[str] = "bit_split"
    packed: ClassVar[int | None] = 1
    roles: ClassVar[tuple[str, ...]] = ("high bits", "low bits")
    low: int = 0
    kind: Kind = Kind.U64

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[BitSplit]:
        if not facts.kind.is_unsigned or not facts.count or facts.high.bit_length() <= 8:
            return
        for high in (8, 11):
            if facts.high.bit_length() > high:
                yield cls(facts.high.bit_length() - high)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[BitSplit, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned or len(stream) == 0 or self.low >= 8 * stream.itemsize:
            return None
        shift = stream.dtype.type(self.low)
        kind = smallest_unsigned(int(stream.max()) >> self.low)
        low = stream & stream.dtype.type((1 << self.low) - 1)
        return BitSplit(self.low, kind), ((stream >> shift).astype(kind.dtype), pack(low, self.low))

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(self.kind, shape.count), Shape(Kind.U8, packed_size(shape.count, self.low))

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        high, data = map(numbers, children)
        low = unpack(data, self.low, shape.count)
        return ((high.astype(np.uint64) << np.uint64(self.low)) | low).astype(shape.kind.dtype, copy=False)

    def write(self, writer: Writer) -> None:
        writer.byte(self.low)
        writer.byte(self.kind)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> BitSplit:
        low, kind = reader.byte(), reader.byte()
        fits = shape.kind.is_unsigned and kind in UNSIGNED.values() and Kind(kind).width <= shape.kind.width
        if not fits or not 1 <= low <= min(MAX_PACKED_WIDTH, 8 * shape.kind.width - 1):
            raise CorruptError(f"{shape.kind.name} cannot be split at {low} bits")
        return cls(low, Kind(kind))

    def __str__(self) -> str:
        return f"{self.name}[{self.low}]"


@dataclass(frozen=True)
class BytePlanes(Encoding):
    """Byte 0 of every value, then byte 1 of every value, and so on: each plane a child of its own."""

    id: ClassVar[int] = 15
    name: ClassVar[str] = "byte_planes"
    roles: ClassVar[tuple[str, ...]] = ("byte plane",)

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[BytePlanes]:
        if not facts.kind.is_unsigned or facts.kind.width == 1 or facts.distinct <= 256:
            return
        if facts.high.bit_length() > 8 * facts.kind.width - 8:  # else a frame of reference narrows it first
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[BytePlanes, tuple[Stream, ...]] | None:
        assert isinstance(stream, np.ndarray)
        planes = bits_of(stream).view(np.uint8).reshape(len(stream), stream.itemsize)
        return self, tuple(np.ascontiguousarray(planes[:, i]) for i in range(stream.itemsize))

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(Kind.U8, shape.count),) * shape.kind.width

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        planes = np.empty((shape.count, shape.kind.width), np.uint8)
        for i, plane in enumerate(children):
            planes[:, i] = numbers(plane)
        return planes.reshape(-1).view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        pass

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> BytePlanes:
        if shape.kind is Kind.STRINGS:
            raise CorruptError("strings have no byte planes")
        return cls()

    def __str__(self) -> str:
        return self.name


def packed_size(count: int, width: int) -> int:
    """Bytes that `count` fields of `width` bits take."""
    return (count * width + 7) // 8


def pack(values: np.ndarray, width: int) -> np.ndarray:
    """Unsigned values below 2^width (1 to 56) as bytes, uint8."""
    data = np.zeros(packed_size(len(values), width), np.uint8)
    kernel.pack(values.astype(np.uint64, copy=False), width, data)
    return data


def unpack(data: np.ndarray, width: int, count: int) -> np.ndarray:
    """The inverse of `pack`, as uint64; `data` has exactly `packed_size(count, width)` bytes."""
    values = np.empty(count, np.uint64)
    kernel.unpack(data, width, values)
    return values
