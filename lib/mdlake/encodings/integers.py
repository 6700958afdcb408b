"""Integers made smaller: differences, zigzag, frame of reference. All arithmetic is modulo 2^width, so exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import UNSIGNED, bits_of, kind_of, numbers, smallest_unsigned

SIGNED = {1: Kind.I8, 2: Kind.I16, 4: Kind.I32, 8: Kind.I64}


@dataclass(frozen=True)
class Delta(Encoding):
    """Each value minus the one before it, as signed integers; the first value is a field."""

    id: ClassVar[int] = 8
    name: ClassVar[str] = "delta"
    again: ClassVar[bool] = True
    roles: ClassVar[tuple[str, ...]] = ("differences",)
    first: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Delta]:
        if facts.kind.is_integer and facts.count > 1 and facts.runs > 1:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Delta, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if len(stream) == 0 or not kind_of(stream).is_integer:
            return None
        bits = bits_of(stream)
        return Delta(int(bits[0])), ((bits[1:] - bits[:-1]).view(SIGNED[bits.itemsize].dtype),)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(SIGNED[shape.kind.width], shape.count - 1),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        steps = numbers(children[0])
        bits = np.empty(shape.count, shape.kind.unsigned.dtype)
        bits[0] = self.first
        bits[1:] = bits_of(steps)
        return np.cumsum(bits, dtype=bits.dtype, out=bits).view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.varint(self.first)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Delta:
        first = reader.varint()
        if not shape.kind.is_integer or shape.count == 0 or first >> (8 * shape.kind.width):
            raise CorruptError(f"delta from {first} cannot give {shape.count} values of kind {shape.kind.name}")
        return cls(first)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Zigzag(Encoding):
    """Signed integers by magnitude: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""

    id: ClassVar[int] = 9
    name: ClassVar[str] = "zigzag"

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Zigzag]:
        if facts.kind.is_integer and not facts.kind.is_unsigned and facts.count and facts.low < 0:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Zigzag, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_integer or kind_of(stream).is_unsigned:
            return None
        return self, (((stream << 1) ^ (stream >> (8 * stream.itemsize - 1))).view(kind_of(stream).unsigned.dtype),)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(shape.kind.unsigned, shape.count),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        folded = numbers(children[0])
        one = folded.dtype.type(1)
        return ((folded >> one) ^ (~(folded & one) + one)).view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        pass

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Zigzag:
        if not shape.kind.is_integer or shape.kind.is_unsigned:
            raise CorruptError(f"zigzag gives signed integers, not {shape.kind.name}")
        return cls()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FrameOfReference(Encoding):
    """`(value - base) / step` in the narrowest unsigned kind; `step` divides every difference from the base."""

    id: ClassVar[int] = 10
    name: ClassVar[str] = "frame_of_reference"
    roles: ClassVar[tuple[str, ...]] = ("offsets",)
    base: int = 0
    step: int = 1
    kind: Kind = Kind.U64

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[FrameOfReference]:
        if not facts.kind.is_integer or facts.runs <= 1:
            return
        step = _common_step(facts)
        if facts.low != 0 or step > 1 or smallest_unsigned(facts.span).width < facts.kind.width:
            yield cls(step=step)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[FrameOfReference, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_integer or len(stream) == 0:
            return None
        base, span = int(stream.min()), int(stream.max()) - int(stream.min())
        above = bits_of(stream) - np.array([base]).astype(stream.dtype).view(kind_of(stream).unsigned.dtype)[0]
        step = int(np.gcd.reduce(above)) if self.step > 1 else 1
        if step > 1:
            above //= above.dtype.type(step)
        kind = smallest_unsigned(span // max(step, 1))
        return FrameOfReference(base, max(step, 1), kind), (above.astype(kind.dtype, copy=False),)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(self.kind, shape.count),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        above = numbers(children[0])
        bits = above.astype(shape.kind.unsigned.dtype)
        if self.step > 1:
            bits *= bits.dtype.type(self.step)
        bits += bits.dtype.type(self.base % (1 << (8 * shape.kind.width)))
        return bits.view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.zigzag(self.base if self.base < 1 << 63 else self.base - (1 << 64))
        writer.varint(self.step)
        writer.byte(self.kind)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> FrameOfReference:
        base, step, kind = reader.zigzag(), reader.varint(), reader.byte()
        fits = shape.kind.is_integer and kind in UNSIGNED.values() and Kind(kind).width <= shape.kind.width
        if not fits or not 1 <= step < 1 << (8 * shape.kind.width):
            raise CorruptError(f"frame of reference (step {step}, kind {kind}) cannot give {shape.kind.name}")
        return cls(base, step, Kind(kind))

    def __str__(self) -> str:
        return f"{self.name}[step {self.step}]" if self.step > 1 else self.name


def _common_step(facts: Facts) -> int:
    """The greatest common divisor of the differences from the smallest value."""
    assert isinstance(facts.stream, np.ndarray)
    bits = bits_of(facts.stream)
    return int(np.gcd.reduce(bits - bits[int(np.argmin(facts.stream))]))
