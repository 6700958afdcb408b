"""Strings taken apart: lengths and bytes, or what each shares with the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.known import Known
from mdlake.encodings.plain import strings_of
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import strings as kernel
from mdlake.streams import UNSIGNED, numbers, smallest_unsigned


@dataclass(frozen=True)
class Lengths(Encoding):
    """Children: the length of each string, and the bytes of all."""

    id: ClassVar[int] = 19
    name: ClassVar[str] = "lengths"
    roles: ClassVar[tuple[str, ...]] = ("lengths", "bytes")
    kind: Kind = Kind.U32

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Lengths]:
        if facts.kind is Kind.STRINGS and facts.count:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Lengths, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings) or len(stream) == 0:
            return None
        kind = smallest_unsigned(int(stream.lengths.max()))
        return Lengths(kind), (stream.lengths.astype(kind.dtype), stream.data)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(self.kind, shape.count), Shape(Kind.U8, shape.text)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        lengths, data = map(numbers, children)
        return strings_of(lengths, data)

    def write(self, writer: Writer) -> None:
        writer.byte(self.kind)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Lengths:
        return cls(_length_kind(reader.byte(), shape))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FrontCoding(Encoding):
    """Children: how many leading bytes each string shares with the one before, and the rest of it.

    Witten, Moffat, Bell, "Managing Gigabytes", section 4.1.
    """

    id: ClassVar[int] = 20
    name: ClassVar[str] = "front_coding"
    roles: ClassVar[tuple[str, ...]] = ("bytes shared", "rest")
    kind: Kind = Kind.U32
    text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[FrontCoding]:
        if isinstance(facts.stream, Strings) and facts.count > 1:
            shared = _shared_prefixes(facts.stream)
            if shared.sum() > 0.1 * max(len(facts.stream.data), facts.count):
                yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[FrontCoding, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings) or len(stream) == 0:
            return None
        shared = _shared_prefixes(stream)
        lengths = stream.lengths - shared
        rest = Strings.of(lengths, np.empty(int(lengths.sum()), np.uint8))
        kernel.drop_prefixes(shared, stream.offsets, stream.data, rest.data)
        kind = smallest_unsigned(int(shared.max()))
        return FrontCoding(kind, len(rest.data)), (shared.astype(kind.dtype), rest)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(self.kind, shape.count), Shape(Kind.STRINGS, shape.count, self.text)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        shared, rest = children
        assert isinstance(shared, np.ndarray) and isinstance(rest, Strings)
        lengths = rest.lengths + shared.astype(np.int64)
        if int(shared[0]) != 0 or bool(np.any(shared[1:] > lengths[:-1])):
            raise CorruptError("a string shares more bytes with the one before it than that has")
        if lengths.sum(dtype=np.float64) != shape.text:
            raise CorruptError(f"front-coded strings do not add up to {shape.text} bytes")
        strings = Strings.of(lengths, np.empty(shape.text, np.uint8))
        kernel.join_prefixes(shared.astype(np.int64), rest.offsets, rest.data, strings.offsets, strings.data)
        return strings

    def write(self, writer: Writer) -> None:
        writer.byte(self.kind)
        writer.varint(self.text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> FrontCoding:
        kind, text = _length_kind(reader.byte(), shape), reader.varint()
        if text > shape.text:
            raise CorruptError(f"{text} bytes of suffixes are more than the {shape.text} of the strings")
        return cls(kind, text)

    def __str__(self) -> str:
        return self.name


def _shared_prefixes(strings: Strings) -> np.ndarray:
    shared = np.empty(len(strings), np.int64)
    kernel.shared_prefixes(strings.offsets, strings.data, shared)
    return shared


def _length_kind(kind: int, shape: Shape) -> Kind:
    if shape.kind is not Kind.STRINGS or shape.count == 0 or kind not in UNSIGNED.values():
        raise CorruptError(f"lengths of kind {kind} cannot give {shape.count} values of kind {shape.kind.name}")
    return Kind(kind)
