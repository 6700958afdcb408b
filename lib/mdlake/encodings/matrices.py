"""Matrices: the weights of a network as integer levels, most of them zero or small, by `mdlake.coding.matrices`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.coding.matrices import LARGEST, Grid, MatrixCoder
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import kind_of, numbers

KINDS = Kind.I8, Kind.I16, Kind.U8
MOST = 1 << 22
"""Rows of a matrix, and cells of a row: both are kept account of, in about 40 bytes each."""
_BIAS, _CHANNELS, _HEIGHT, _WIDTH = 1, 2, 4, 8

MOST_PRODUCT = 1 << 57


@dataclass(frozen=True)
class Matrices(Encoding):
    """A leaf: the values are those of the matrices one after another, each row by row. It has to be named, for only
    the caller knows the shapes. `largest`: the largest magnitude; `signed`: whether there are negative values."""

    id: ClassVar[int] = 36
    name: ClassVar[str] = "matrices"
    grids: tuple[Grid, ...] = ()
    largest: int = 1
    signed: bool = False
    data: bytes | memoryview = b""

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Matrices, tuple[Stream, ...]] | None:
        if kind_of(stream) not in KINDS or not len(stream) or len(stream) != sum(grid.count for grid in self.grids):
            return None
        values = numbers(stream).astype(np.int32)
        low, high = int(values.min()), int(values.max())
        coder = MatrixCoder(self.grids, max(-low, high, 1), low < 0)
        if not all(_countable(grid, coder.largest) for grid in self.grids):
            return None
        return Matrices(self.grids, coder.largest, coder.signed, coder.encode(values)), ()

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        values = MatrixCoder(self.grids, self.largest, self.signed).decode(self.data)
        limits = np.iinfo(shape.kind.dtype)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise CorruptError(f"a level of the matrices does not fit {shape.kind.name}")
        return values.astype(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.varint(len(self.grids))
        before = 1
        for grid in self.grids:
            _write_grid(writer, grid, before)
            before = grid.rows
        writer.varint(2 * self.largest + self.signed)
        writer.counted(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Matrices:
        matrices, grids, left = reader.varint(), list[Grid](), shape.count
        while left and len(grids) < matrices:
            grids.append(_read_grid(reader, grids[-1].rows if grids else 1))
            left -= grids[-1].count
            if left < 0:
                break
        if left or len(grids) != matrices or shape.kind not in KINDS:
            raise CorruptError(f"{matrices} matrices are not {shape.count} values of kind {shape.kind.name}")
        largest, signed = divmod(reader.varint(), 2)
        if not 1 <= largest <= LARGEST or (signed and shape.kind.is_unsigned):
            raise CorruptError(f"matrices of kind {shape.kind.name} cannot hold a magnitude of {largest}")
        if not all(_countable(grid, largest) for grid in grids):
            raise CorruptError(
                f"a matrix of more than {MOST} rows or columns, or too many cells of magnitude {largest}"
            )
        return cls(tuple(grids), largest, bool(signed), reader.counted())

    def __str__(self) -> str:
        return f"{self.name}[{len(self.grids)}]"


def _write_grid(writer: Writer, grid: Grid, before: int) -> None:
    """Only what the matrix before, of `before` rows, does not tell."""
    flat, square = grid.height == grid.width == 1, grid.height == grid.width
    flags = _BIAS * grid.bias + _CHANNELS * (grid.channels != before) + _HEIGHT * (not flat) + _WIDTH * (not square)
    writer.byte(flags)
    writer.varint(grid.rows)
    if flags & _CHANNELS:
        writer.varint(grid.channels)
    if flags & _HEIGHT:
        writer.varint(grid.height)
    if flags & _WIDTH:
        writer.varint(grid.width)


def _read_grid(reader: Reader, before: int) -> Grid:
    flags, rows = reader.byte(), reader.varint()
    channels = reader.varint() if flags & _CHANNELS else before
    height = reader.varint() if flags & _HEIGHT else 1
    width = reader.varint() if flags & _WIDTH else height
    if flags >= 2 * _WIDTH or not (rows and channels and height and width):
        raise CorruptError(f"a matrix of {rows} rows, {channels} channels of {height} x {width}, flags {flags}")
    return Grid(rows, channels, height, width, bool(flags & _BIAS))


def _countable(grid: Grid, largest: int) -> bool:
    """Whether the decoder's accounts are short, and its products fit in 63 bits."""
    longest = max(grid.rows, grid.length)
    return longest <= MOST and grid.count * longest * largest <= MOST_PRODUCT
