"""Weights: floats in rows of different scale, as the weights of networks are.

What is predictable of a weight is its size, if its row is known: rows differ in scale, and the sizes in a row are those
of a bell curve. Of a size, exponent and first bits of the mantissa tell the logarithm; they are coded under tables for
rows of like scale. Sign and further bits are noise and stay as they are, but for bits that are zero in a whole row, as
where numbers of half the width were stored in the full. After Hershcovitch et al., "ZipNN: Lossless Compression for AI
Models" (2024), which has one Huffman table for the exponents of every stretch, and no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.clustering import merged
from mdlake.coding.rans_rows import MAX_TABLES, RowDecoder, encode_rows
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import float_rows as kernel
from mdlake.kernels import rans_rows as coder
from mdlake.streams import bits_of, kind_of, numbers

MANTISSA = {Kind.F16: 10, Kind.U16: 7, Kind.F32: 23, Kind.F64: 52}
"""Bits of the mantissa; 16-bit integers are taken for the patterns of bfloat16."""
MAX_TOP = 16
"""Bits of a top."""
_SYMBOLS = 255
_LOOKED_AT, _COUNTED, _ALL_ROWS = 1 << 14, 1 << 20, 64
_RARE = 14
_AT_ONCE = 1 << 17
"""Symbols that are decoded before they are made values: about what a core's own cache holds."""


@dataclass(frozen=True)
class Weights(Encoding):
    """The top of a value, its bits between the sign and the `low` last ones, is base - 1 and its symbol; symbol 0
    stands for tops that are kept apart. Children: the table of each row, how many last bits of it are zeros, sign and
    low bits of all values in planes (`kernels.float_rows`), the tops of symbols 0.

    To be named by who knows the length of rows; 0 is one row.
    """

    id: ClassVar[int] = 35
    name: ClassVar[str] = "weights"
    roles: ClassVar[tuple[str, ...]] = ("table of each row", "zero bits of each row", "signs and low bits", "rare tops")
    packed: ClassVar[int | None] = 2
    length: int = 0
    low: int | None = None
    base: int = 0
    tables: int = 0
    rare: int = 0
    rest: int = 0
    head: bytes | memoryview = b""
    words: bytes | memoryview = b""

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Weights, tuple[Stream, ...]] | None:
        kind, count = kind_of(stream), len(stream)
        if kind not in MANTISSA or not 0 < count < 1 << 32:
            return None
        bits = np.ascontiguousarray(bits_of(numbers(stream)))
        low = MANTISSA[kind] - fine_bits(count) if self.low is None else self.low
        length = min(self.length or count, count)
        rows = -(-count // length)
        sums, zeros, symbols = np.empty(rows, np.uint64), np.empty(rows, np.uint8), np.empty(count, np.uint8)
        kernel.describe_rows(bits, length, low, sums, zeros)
        tops = np.zeros(1 << (8 * kind.width - 1 - low), np.uint32)
        kernel.count_tops(bits, low, count // _LOOKED_AT + 1, tops)
        base = kernel.best_window(tops, _SYMBOLS)
        rest = np.empty(kernel.rest_bytes(count, length, low, zeros), np.uint8)
        kernel.split(bits, length, low, base, zeros, symbols, rest)
        tables, frequencies = _tables(symbols, length, sums, MANTISSA[kind] - low)
        coded = encode_rows(symbols, length, tables, frequencies)
        rare = ((bits[coded.rare] >> bits.dtype.type(low)) & bits.dtype.type(len(tops) - 1)).astype(np.uint16)
        step = Weights(length, low, base, len(frequencies), len(rare), len(rest), coded.tables, coded.words)
        return step, (tables, zeros, rest, rare)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        per_row = Shape(Kind.U8, -(-shape.count // self.length))
        return per_row, per_row, Shape(Kind.U8, self.rest), Shape(Kind.U16, self.rare)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        values = np.empty(shape.count, shape.kind.dtype)
        self.fill(values, children, shape)
        return values

    def fill(self, out: np.ndarray, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> None:
        tables, zeros, rest, rare = map(numbers, children)
        low = self.low or 0
        if self.rest != kernel.check_rows(shape.count, self.length, low, zeros, tables, self.tables):
            raise CorruptError(f"{self.rest} bytes are not the low bits of {shape.count} values in such rows")
        decoder = RowDecoder(self.head, self.words, self.tables)
        limit = 1 << (8 * shape.kind.width - 1 - low)
        if max(int(rare.max(initial=0)), self.base + decoder.largest - 1) >= limit:
            raise CorruptError(f"a top is not below {limit}")
        bits = bits_of(out)
        step = max(_AT_ONCE // self.length, 1)
        scratch = np.empty(min(step * self.length, shape.count), np.uint8)
        at = found = 0
        for row in range(0, len(tables), step):
            some = bits[row * self.length : (row + step) * self.length]
            of, symbols = tables[row : row + step], scratch[: len(some)]
            decoder.take(of, self.length, symbols)
            fields = self.length, low, self.base, zeros[row : row + step]
            at, found = kernel.join(symbols, rest, at, *fields, rare, found, some)
        decoder.finish()
        if found != self.rare:
            raise CorruptError(f"there are {found} values whose tops are rare, not {self.rare}")

    def write(self, writer: Writer) -> None:
        writer.varint(self.length)
        writer.byte(self.low or 0)
        writer.varint(self.base)
        writer.byte(self.tables)
        writer.varint(self.rare)
        writer.varint(self.rest)
        writer.counted(self.head)
        writer.counted(self.words)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Weights:
        length, low, base, tables = reader.varint(), reader.byte(), reader.varint(), reader.byte()
        rare, rest = reader.varint(), reader.varint()
        top = 8 * shape.kind.width - 1 - low
        if shape.kind not in MANTISSA or not 1 <= length <= shape.count or not 1 <= top <= MAX_TOP:
            raise CorruptError(f"no weights of {shape.count} {shape.kind.name} in rows of {length}, {low} low bits")
        if not 1 <= tables <= MAX_TABLES or base >> top or rare > shape.count:
            raise CorruptError(f"weights of {tables} tables, {rare} rare tops, the others from {base} on")
        return cls(length, low, base, tables, rare, rest, reader.counted(), reader.counted())

    def __str__(self) -> str:
        return f"{self.name}[{self.length}, {self.tables}]"


def fine_bits(count: int) -> int:
    """How many bits of the mantissa are worth a place in the tables."""
    return 3 if count >= 1 << 15 else 0


def _tables(
    symbols: NDArray[np.uint8], length: int, sums: NDArray[np.uint64], fine: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The table of each row, by its scale, and the slots of each, [tables, 256], by a sample of rows."""
    levels = np.empty(len(sums), np.int64)
    number = kernel.rank_rows(sums, length, len(symbols), fine, MAX_TABLES, levels)
    counts = np.zeros((number, 256), np.uint32)
    coder.count_rows(symbols, length, len(symbols) // _COUNTED + 1 if len(sums) > _ALL_ROWS else 1, levels, counts)
    table_of = merged(counts) if number > 1 else np.zeros(1, np.uint8)
    frequencies = np.empty((int(table_of.max()) + 1, 256), np.int64)
    coder.fit_tables(counts, table_of, _RARE, frequencies)
    return table_of[levels], frequencies
