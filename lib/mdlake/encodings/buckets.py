"""Buckets: large integers as an entropy-codable bucket and the raw bits within it (`mdlake.coding.buckets`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from mdlake.coding.buckets import from_buckets, to_buckets
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import kind_of, numbers

MAX_DIRECT = 10


@dataclass(frozen=True)
class Buckets(Encoding):
    """Children: the buckets, and the bytes of the packed bits within them (`extra` bytes)."""

    id: ClassVar[int] = 16
    name: ClassVar[str] = "buckets"
    packed: ClassVar[int | None] = 1
    roles: ClassVar[tuple[str, ...]] = ("buckets", "bits within")
    direct: int = 4
    mantissa: int = 1
    extra: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Buckets]:
        if facts.kind.is_unsigned and facts.count and facts.high >= 512 and facts.distinct > 256:
            yield cls(4, 2)
            yield cls(7, 4)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Buckets, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned:
            return None
        chosen, packed = to_buckets(stream, self.direct, self.mantissa)
        return Buckets(self.direct, self.mantissa, len(packed)), (chosen, packed)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(Kind.U16, shape.count), Shape(Kind.U8, self.extra)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        chosen, packed = map(numbers, children)
        values = from_buckets(chosen, packed, self.direct, self.mantissa, 8 * shape.kind.width)
        return values.astype(shape.kind.dtype, copy=False)

    def write(self, writer: Writer) -> None:
        writer.byte(self.direct)
        writer.byte(self.mantissa)
        writer.varint(self.extra)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Buckets:
        direct, mantissa, extra = reader.byte(), reader.byte(), reader.varint()
        if not shape.kind.is_unsigned or not 0 <= mantissa <= direct <= MAX_DIRECT:
            raise CorruptError(f"buckets({direct}, {mantissa}) cannot give {shape.kind.name}")
        if extra > shape.count * 8:
            raise CorruptError(f"{extra} bytes of bucket bits are more than {shape.count} values can have")
        return cls(direct, mantissa, extra)

    def __str__(self) -> str:
        return f"{self.name}[{self.direct},{self.mantissa}]"
