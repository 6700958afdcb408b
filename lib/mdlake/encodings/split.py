"""Split: strings as columns, what stands between the occurrences of one byte: the fields of a line, folder and file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import split as kernel
from mdlake.kernels.tokens import put_strings
from mdlake.streams import numbers

MAX_COLUMNS = 16
FIELDS, PATH = b'"\t,;|@ ', b"/"
"""Bytes to try where nearly all strings have equally many; and where nearly all have some, at the last of them."""
_TRIAL, _LEAST_SHARE = 256, 0.95


@dataclass(frozen=True)
class Split(Encoding):
    """Children: how many pieces each string has; the first pieces, the second ones of those that have some, and so on.

    `last`: whether an encoder splits at the last occurrences; a decoder need not know, and it is not stored.
    """

    id: ClassVar[int] = 31
    name: ClassVar[str] = "split"
    roles: ClassVar[tuple[str, ...]] = ("counts of pieces", "pieces")
    delimiter: int = 0
    most: int = 2
    last: bool = False
    columns: tuple[Shape, ...] = ()

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Split]:
        """At the byte that most strings have equally often, the more often the better; at the last slash."""
        if not isinstance(facts.stream, Strings) or facts.count < 2:
            return
        trial = facts.stream.slice(0, _TRIAL)
        least = _LEAST_SHARE * len(trial)
        for delimiter in FIELDS:
            found = _occurrences(trial, delimiter)
            usual = int(np.bincount(found).argmax())
            if 0 < usual < MAX_COLUMNS and np.count_nonzero(found == usual) >= least:
                yield cls(delimiter, usual + 1)
                break
        for delimiter in PATH:
            if np.count_nonzero(_occurrences(trial, delimiter)) >= least:
                yield cls(delimiter, 2, True)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Split, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings) or len(stream) == 0:
            return None
        found = _occurrences(stream, self.delimiter)
        pieces = np.minimum(found, self.most - 1) + np.uint8(1)
        skipped = found + np.uint8(1) - pieces if self.last else np.zeros_like(found)
        where = stream.offsets, stream.data, self.delimiter, skipped, pieces
        most = int(pieces.max())
        counts, sizes = np.zeros((2, most), np.int64)
        kernel.measure(*where, counts, sizes)
        lengths, data = np.empty(counts.sum(), np.int64), np.empty(sizes.sum(), np.uint8)
        kernel.fill(*where, np.cumsum(counts) - counts, np.cumsum(sizes) - sizes, lengths, data)
        rows, bytes_ = np.split(lengths, np.cumsum(counts)[:-1]), np.split(data, np.cumsum(sizes)[:-1])
        columns = tuple(Strings.of(*column) for column in zip(rows, bytes_, strict=True))
        return Split(self.delimiter, most, self.last, tuple(map(Shape.of, columns))), (pieces, *columns)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(Kind.U8, shape.count), *self.columns

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        pieces = numbers(children[0])
        columns = [column for column in children[1:] if isinstance(column, Strings)]
        rows = [_rows(pieces > column) for column in range(len(columns))]
        lengths = np.full(shape.count, -1, np.int64)
        for column, those in zip(columns, rows, strict=True):
            if len(lengths[those]) != len(column):
                raise CorruptError("the pieces of the strings are not as many as their columns hold")
            lengths[those] += column.lengths + 1
        if lengths.sum(dtype=np.float64) != shape.text or int(pieces.max()) > len(columns):
            raise CorruptError(f"the pieces of strings do not make {shape.text} bytes")
        strings = Strings.of(lengths, np.empty(shape.text, np.uint8))
        at = strings.offsets[:-1].copy()
        for number, (column, those) in enumerate(zip(columns, rows, strict=True)):
            places = at[those]
            if number:
                strings.data[places] = self.delimiter
                places += 1
            put_strings(column.offsets, column.data, places, strings.data)
            at[those] = places
        return strings

    def write(self, writer: Writer) -> None:
        writer.byte(self.delimiter)
        writer.byte(len(self.columns))
        for column in self.columns:
            writer.varint(column.count)
            writer.varint(column.text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Split:
        delimiter, count = reader.byte(), reader.byte()
        if shape.kind is not Kind.STRINGS or not shape.count or not 1 <= count <= MAX_COLUMNS:
            raise CorruptError(f"{count} columns cannot give {shape.count} values of kind {shape.kind.name}")
        columns = tuple(Shape(Kind.STRINGS, reader.varint(), reader.varint()) for _ in range(count))
        if columns[0].count != shape.count or any(c.count > shape.count or c.text > shape.text for c in columns):
            raise CorruptError(f"the columns hold more than {shape.count} strings of {shape.text} bytes")
        return cls(delimiter, count, False, columns)

    def __str__(self) -> str:
        return f"{self.name}[{len(self.columns)}]"


def _occurrences(strings: Strings, delimiter: int) -> NDArray[np.uint8]:
    found = np.empty(len(strings), np.uint8)
    kernel.occurrences(strings.offsets, strings.data, delimiter, found)
    return found


def _rows(chosen: NDArray[np.bool_]) -> NDArray[np.intp] | slice:
    """Where they are; all of them as a slice, which copies nothing."""
    return slice(None) if bool(chosen.all()) else np.flatnonzero(chosen)
