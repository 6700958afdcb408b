"""Buckets: large integers as an entropy-codable bucket and the raw bits within it.

The floating-point-like bucketing of JPEG XL's hybrid integers (ISO/IEC 18181-1, annex C): values below 2^direct are a
bucket each; above, a bucket is the exponent and the `mantissa` bits after the leading one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.bit_fields import packed_size
from mdlake.encodings.protocol import Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import bits, bucket_bits
from mdlake.streams import kind_of, numbers

MAX_DIRECT = 10


@dataclass(frozen=True)
class Buckets:
    """Children: the buckets, and the bytes of the packed bits within them (`extra` bytes)."""

    id: ClassVar[int] = 16
    name: ClassVar[str] = "buckets"
    table: ClassVar[int | None] = None
    direct: int = 4
    mantissa: int = 1
    extra: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Buckets]:
        if facts.kind.is_unsigned and facts.count and facts.high >= 512 and facts.distinct > 256:
            yield cls(4, 2)
            yield cls(7, 4)

    def estimate(self, facts: Facts) -> None:
        return None

    def encode(self, stream: Stream) -> tuple[Buckets, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned:
            return None
        chosen, extras = np.empty(len(stream), np.uint16), np.empty(len(stream), np.uint64)
        widths = np.empty(len(stream), np.uint8)
        bucket_bits.split(stream.astype(np.uint64, copy=False), self.direct, self.mantissa, chosen, extras, widths)
        packed = np.zeros(packed_size(int(widths.sum(dtype=np.int64)), 1), np.uint8)
        bits.pack_fields(extras, widths, packed)
        return Buckets(self.direct, self.mantissa, len(packed)), (chosen, packed)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(Kind.U16, shape.count), Shape(Kind.U8, self.extra)

    def decode(self, children: tuple[Stream, ...], shape: Shape) -> Stream:
        chosen, packed = map(numbers, children)
        firsts, widths = self._table(8 * shape.kind.width)
        if shape.count and int(chosen.max()) >= len(firsts):
            raise CorruptError(f"bucket {int(chosen.max())} is beyond the {len(firsts)} of {shape.kind.name}")
        needed = packed_size(int(widths[chosen].sum(dtype=np.int64)), 1)
        if needed != self.extra:
            raise CorruptError(f"the buckets need {needed} bytes of bits, found {self.extra}")
        extras, values = np.empty(shape.count, np.uint64), np.empty(shape.count, np.uint64)
        bits.unpack_fields(packed, widths[chosen], extras)
        bucket_bits.join(chosen, firsts, extras, values)
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

    def _table(self, value_bits: int) -> tuple[np.ndarray, np.ndarray]:
        """The smallest value (uint64) and the width (uint8) of every bucket of a kind of `value_bits` bits."""
        direct = min(self.direct, value_bits)
        exponents = np.repeat(np.arange(direct, value_bits, dtype=np.uint64), 1 << self.mantissa)
        leading = np.tile(np.arange(1 << self.mantissa, dtype=np.uint64), value_bits - direct)
        widths = exponents - np.uint64(self.mantissa)
        firsts = (np.uint64(1 << self.mantissa) + leading) << widths
        return (
            np.concatenate([np.arange(1 << direct, dtype=np.uint64), firsts]),
            np.concatenate([np.zeros(1 << direct, np.uint8), widths.astype(np.uint8)]),
        )

    def __str__(self) -> str:
        return f"{self.name}[{self.direct},{self.mantissa}]"
